"""The smoke test of a real account: `./sluice test --aws`, never run otherwise."""
