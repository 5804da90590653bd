"""Published marts as Parquet on S3, registered in the Glue catalogue so that Athena reads them, and raw landings too.

It knows no source and no warehouse: it is given schemas, record batches and names, a client of S3 and one of Glue.
`docs/lake.md` says what lies where, and what readers see while it changes.
"""

from include.lake.catalogue import Catalogue, LakeError
from include.lake.landed import Landed, LandedTable, register
from include.lake.marts import Exported, LakeTable, Slice, export, sweep

__all__ = [
    "Catalogue",
    "Exported",
    "LakeError",
    "LakeTable",
    "Landed",
    "LandedTable",
    "Slice",
    "export",
    "register",
    "sweep",
]
