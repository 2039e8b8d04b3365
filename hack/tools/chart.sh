#!/usr/bin/env bash
# Copies into the Helm chart what it has in common with config/: everything but
# the Deployment and the two ClusterRoles that an administrator edits, which the
# chart makes from its values. $1 is the folder that the chart lies under.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
files="$1/charts/access-broker/files"
rm -rf "$files"
mkdir -p "$files"/{crd,rbac,manager,admission}

cp config/crd/bases/*.yaml "$files/crd"
cp config/admission/*.yaml "$files/admission"
cp config/rbac/*.yaml "$files/rbac"
cp config/manager/*.yaml config/components/network-policy/networkpolicy.yaml "$files/manager"
rm "$files"/{admission,rbac,manager}/kustomization.yaml \
  "$files"/rbac/{grantable_roles,task_kinds}.yaml "$files/manager/deployment.yaml"
