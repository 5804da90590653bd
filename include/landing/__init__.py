"""The landing: payloads in S3 exactly as they were served, each landing with its manifest.

`LandingStore` writes and reads landings, `include.landing.profile` looks at one for the gate,
`include.landing.records` hands its rows to the loader.
"""

from include.landing.manifest import LandingError, Manifest, Part, Refusal
from include.landing.store import Dropped, LandingStore, LandingWriter

__all__ = ["Dropped", "LandingError", "LandingStore", "LandingWriter", "Manifest", "Part", "Refusal"]
