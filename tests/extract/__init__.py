"""Tests of the extraction: real HTTP servers, in threads."""
