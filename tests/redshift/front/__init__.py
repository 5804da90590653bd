"""A front that stands for Redshift in tests: its protocol, SQL and COPY, before a plain PostgreSQL and an S3 server.

Real clients talk to it (redshift_connector, dbt-redshift, Airflow's RedshiftSQLHook). It refuses
what Redshift refuses (`unsupported.yml`). What it is not: docs/redshift.md.
"""

from tests.redshift.front.server import Front, front, prepare

__all__ = ["Front", "front", "prepare"]
