# The Airflow image: locally `astro dev start`, in the cloud `astro deploy`. Tags: <Airflow minor>-<build>-python-<minor>;
# this one is Airflow 3.3.2, as uv.lock has it for the bare machine. Python 3.13 is the newest that pyproject.toml allows.
# Its ONBUILD steps install packages.txt and requirements.txt, then copy the project to /usr/local/airflow.
FROM astrocrpublic.azurecr.io/runtime:3.3-8-python-3.13

# dags/ import include/ from the project root. Nobody is told how Sluice is used.
ENV PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}/usr/local/airflow" \
    SLUICE_DBT_PROJECT_DIR=/usr/local/airflow/dbt_project \
    SLUICE_DBT_MANIFEST=/usr/local/airflow/dbt_target/manifest.json \
    SLUICE_DOCS_URI=file:///usr/local/airflow/docs_site \
    AIRFLOW__COSMOS__DBT_DOCS_PROJECTS='{"sluice": {"dir": "/usr/local/airflow/docs_site/dbt", "index": "index.html", "name": "Sluice dbt docs"}}' \
    AIRFLOW__COSMOS__ENABLE_TELEMETRY=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false \
    GX_ANALYTICS_ENABLED=false \
    SCARF_ANALYTICS=false \
    OPENBLAS_NUM_THREADS=1

# Cosmos reads the manifest instead of running dbt at every parse (0.9 s against 5.7 s). It lies beside dbt_project, not
# in it, because docker-compose.override.yml mounts the working copy over that folder: after a change of the models
# `astro dev restart` makes it anew. Parsing connects to nothing and needs none of the profile's variables.
# docs_site exists in the image so that a volume mounted there belongs to the user who writes to it.
RUN dbt parse --target postgres \
        --project-dir "$SLUICE_DBT_PROJECT_DIR" --profiles-dir "$SLUICE_DBT_PROJECT_DIR" \
        --target-path /usr/local/airflow/dbt_target --log-path /usr/local/airflow/dbt_target/logs \
    && mkdir -p /usr/local/airflow/docs_site
