"""The command: `python -m infra.deploy --bucket NAME [--prefix P/] [--target T] [--manifest FILE] [--dry-run]`.

Credentials and region are boto3's own business (a profile, an environment, GitHub's OIDC).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import boto3

from infra.deploy import package
from infra.deploy.bucket import Bucket


def main(arguments: list[str] | None = None) -> int:
    """Deploy, and print what has changed and the versions that the stack of MWAA wants; 0, or 1 with the fault."""
    asked = _asked(arguments)
    client = boto3.client("s3", endpoint_url=asked.endpoint_url)
    bucket = Bucket(client, asked.bucket, asked.prefix)

    def make() -> dict[str, bytes]:
        manifest = asked.manifest.read_bytes() if asked.manifest else package.parse(target=asked.target)
        return package.with_manifest(release, manifest)

    try:
        release = package.release(target=asked.target)
        changes = bucket.deploy(release.id, make, package.around(), dry_run=asked.dry_run)
    except package.PackageError as fault:
        sys.stderr.write(f"infra.deploy: {fault}\n")
        return 1
    lines = [f"{change.sign} {change.what}" for change in changes] or ["= nothing to change"]
    lines.append(f"release={release.id} bucket={asked.bucket} changes={len(changes)} dry_run={asked.dry_run}")
    if not asked.dry_run:
        names = {
            "requirements.txt": "RequirementsVersion",
            "plugins.zip": "PluginsVersion",
            "startup.sh": "StartupVersion",
        }
        lines += [f"{names[key]}={version}" for key, version in bucket.versions().items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _asked(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m infra.deploy", description="Ship Sluice to MWAA's bucket.")
    parser.add_argument("--bucket", required=True, help="MWAA's bucket (output CodeBucket of the stack of buckets)")
    parser.add_argument("--prefix", default="", help="a folder of the bucket, ending with a slash; default: none")
    parser.add_argument("--target", default="postgres", choices=["postgres", "redshift"], help="dbt's target")
    parser.add_argument("--manifest", type=Path, help="a manifest.json of dbt parse; default: it is made")
    parser.add_argument("--endpoint-url", help="another S3 server than AWS's")
    parser.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    asked = parser.parse_args(arguments)
    if asked.prefix and not asked.prefix.endswith("/"):
        parser.error(f"--prefix {asked.prefix}: end it with a slash")
    return asked


if __name__ == "__main__":
    sys.exit(main())
