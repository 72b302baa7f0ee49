#!/bin/bash
# Installs what is missing of the Debian packages in the given lists (one name a line; of `a | b` a, unless b
# is there), by apt, through sudo where needed:
#   deploy/local/packages.sh deploy/packages.txt [LIST…]
# Packages bring their programs only: no service is started or enabled, no database cluster is made.
set -euo pipefail

command -v dpkg-query apt-get >/dev/null || { echo "packages.sh: this needs Debian's dpkg and apt" >&2; exit 1; }
mapfile -t wanted < <(cat "$@")
declare -A here=()
while read -r name status; do
        if [ "$status" = installed ]; then here[$name]=1; fi
done < <(dpkg-query -W -f='${Package} ${db:Status-Status}\n')
missing=()
for line in "${wanted[@]}"; do
        read -r -a names <<<"${line//|/ }"
        found=
        for name in "${names[@]}"; do found+=${here[$name]-}; done
        if [ -z "$found" ] && [ ${#names[@]} -gt 0 ]; then missing+=("${names[0]}"); fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "packages.sh: missing, and neither root nor sudo to install them: ${missing[*]}" >&2; exit 1; }
        exec sudo -- "$0" "$@"
fi

# Two temporary files keep the packages' scripts from starting services and from making a cluster; both go when we end. A machine's own
# policy-rc.d stays as it is.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.d/pipeline.conf
mark="# for the time of one installation"
own_policy=
if [ ! -e $policy ] || grep -qsF "$mark" $policy; then own_policy=$policy; fi
tidy() {
        rm -f ${own_policy:+"$own_policy"} $cluster
        rmdir --ignore-fail-on-non-empty "${cluster%/*}"
}
trap tidy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "${cluster%/*}"
echo "create_main_cluster = false" >$cluster
if [ -n "$own_policy" ]; then
        printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >$policy
        chmod 755 $policy
fi

echo "Installing: ${missing[*]}"
services() { ls /etc/init.d 2>/dev/null || true; }
services_before=$(services)
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        tail -n 25 "$log" >&2
        echo "packages.sh: installing failed; all of apt's output: $log" >&2
        exit 1
fi
rm -f "$log"
# The services that came along are not to start with the machine either.
for service in $(comm -13 <(echo "$services_before") <(services)); do
        update-rc.d "$service" disable >/dev/null
done
