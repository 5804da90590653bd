#!/usr/bin/env bash
# MWAA runs this in every container before Airflow; what it exports is Airflow's environment. The values come from the
# environment's configuration options `sluice.*` (infra/templates/mwaa.yaml), so one stack says them.
set -euo pipefail

export SLUICE_BUCKET=${AIRFLOW__SLUICE__BUCKET:?configuration option sluice.bucket}
export SLUICE_DOCS_URI=${AIRFLOW__SLUICE__DOCS_URI:?configuration option sluice.docs_uri}
export SLUICE_LAKE_DATABASE=${AIRFLOW__SLUICE__LAKE_DATABASE:-}
export SLUICE_DROP_QUEUE=${AIRFLOW__SLUICE__DROP_QUEUE:-}
export SLUICE_ALERT_TO=${AIRFLOW__SLUICE__ALERT_TO:?configuration option sluice.alert_to}
export SLUICE_REPORT_TO=${AIRFLOW__SLUICE__REPORT_TO:?configuration option sluice.report_to}
export DBT_SEND_ANONYMOUS_USAGE_STATS=false GX_ANALYTICS_ENABLED=false SCARF_ANALYTICS=false OPENBLAS_NUM_THREADS=1

# What sslmode=verify-full verifies RDS by; Redshift's certificates are signed by a CA that the system knows.
bundle=/usr/local/airflow/rds.pem
if [ ! -s "$bundle" ]; then
    curl --fail --silent --show-error --location --retry 5 --max-time 60 --output "$bundle.new" \
        https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
    mv -- "$bundle.new" "$bundle"
fi
