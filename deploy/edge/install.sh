#!/bin/sh
# Installs the edge agent as a service, from a wheel or from an index:
#
#   sudo sh install.sh penstock --hub hub.local            from the index that pip is set to
#   sudo sh install.sh ./penstock-0.1.0-py3-none-any.whl --hub 10.0.0.5:1883 --device press-7
#
# Called again it installs what is named over what is there; settings and data stay. uninstall.sh takes all of it away.
set -eu

usage() { echo "usage: install.sh WHEEL|REQUIREMENT --hub HOST[:PORT] [--device ID] [--extra NAME,NAME] [--root DIR]" >&2; exit 2; }
fail() { echo "install.sh: $1" >&2; exit 1; }

what= hub= device= extra= root=
while [ $# -gt 0 ]; do
  case $1 in
    --hub | --device | --extra | --root) [ $# -ge 2 ] || usage ;;
  esac
  case $1 in
    --hub) hub=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    --extra) extra=$2; shift 2 ;;
    --root) root=${2%/}; shift 2 ;;
    -*) usage ;;
    *) [ -z "$what" ] || usage; what=$1; shift ;;
  esac
done
[ -n "$what" ] || usage
home=$root/opt/penstock-edge settings=$root/etc/penstock/edge.toml unit=$root/etc/systemd/system/penstock-edge.service
data=$root/var/lib/penstock here=$(cd "$(dirname "$0")" && pwd)
case $hub$device in *[!A-Za-z0-9._:-]*) fail "--hub and --device may hold letters, digits and . _ : - alone" ;; esac
[ -n "$hub" ] || [ -e "$settings" ] || usage
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "call it with sudo"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
python3 -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing: sudo apt install python3-venv"
[ -n "$root" ] || [ -d /run/systemd/system ] || fail "systemd does not run here"

new=
[ -e "$home" ] || new=yes
trap '[ -z "$new" ] || rm -rf "$home"' EXIT
mkdir -p "$(dirname "$home")"
[ -z "$new" ] || python3 -m venv "$home"
"$home/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --upgrade "$what${extra:+[$extra]}"
"$home/bin/penstock" edge spool --help >/dev/null || fail "what was installed does not start"
trap - EXIT
cp "$here/uninstall.sh" "$home/uninstall.sh"

if [ ! -e "$settings" ]; then
  mkdir -p "$(dirname "$settings")"
  port=${hub##*:}
  [ "$port" != "$hub" ] || port=1883
  {
    echo "# Settings of the edge agent. All there are: docs/settings.md; what the sensors say now: penstock edge read"
    echo "[edge]"
    [ -z "$device" ] || echo "device = \"$device\""
    echo "hub_host = \"${hub%:*}\""
    echo "hub_port = $port"
    printf '\n[[edge.sensors]]\nkind = "host"\ninterval_s = 1.0\n'
  } >"$settings"
  chmod 0640 "$settings"
fi
mkdir -p "$data" "$(dirname "$unit")"
cp "$here/penstock-edge.service" "$unit"
if [ -z "$root" ]; then
  id penstock >/dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/penstock --shell /usr/sbin/nologin penstock
  for group in i2c spi gpio dialout video; do
    ! getent group $group >/dev/null || usermod --append --groups $group penstock
  done
  chown root:penstock /etc/penstock/edge.toml
  chown -R penstock:penstock /var/lib/penstock
  systemctl daemon-reload
  systemctl enable --quiet penstock-edge
  systemctl restart penstock-edge
fi
echo "installed; look at it with: journalctl -u penstock-edge -f"
echo "and check it with:          sudo -u penstock $home/bin/penstock edge doctor --config $settings --data $data"
