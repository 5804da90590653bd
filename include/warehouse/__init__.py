"""The warehouse: roles and schemas, loads into raw, publishes into analytics. Knows no source and no Airflow."""
