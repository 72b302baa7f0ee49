#!/bin/sh
# Makes deploy/kubernetes/servicemonitor/prometheusrule.yaml, for the Prometheus operator, from rules.yml and alerts.yml. Run it after a change of these;
# a test compares.
set -eu

cd "$(dirname "$0")"
{
        cat <<'YAML'
# Made by deploy/monitoring/prometheusrule.sh from rules.yml and alerts.yml: edit those, and run it again.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: intuition-sync
spec:
  groups:
YAML
        for file in rules.yml alerts.yml; do sed -e '1,/^groups:$/d' -e 's/^./  &/' $file; done
} >"${1:-../kubernetes/servicemonitor/prometheusrule.yaml}"
