#!/bin/sh
# Takes the edge agent away and leaves nothing: program, settings, data, unit, user.
# Readings that the hub does not have yet keep it from doing so, unless --discard is given.
set -eu

root= discard=
while [ $# -gt 0 ]; do
  case $1 in
    --root) [ $# -ge 2 ] || exit 2; root=${2%/}; shift 2 ;;
    --discard) discard=yes; shift ;;
    *) echo "usage: uninstall.sh [--discard] [--root DIR]" >&2; exit 2 ;;
  esac
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo "uninstall.sh: call it with sudo" >&2; exit 1; }
home=$root/opt/penstock-edge data=$root/var/lib/penstock

[ -n "$root" ] || systemctl stop penstock-edge 2>/dev/null || true
if [ -z "$discard" ] && [ -e "$data/edge/identity.json" ] && [ -x "$home/bin/penstock" ]; then
  waits=$("$home/bin/penstock" edge spool --data "$data" --json |
    "$home/bin/python" -c 'import json, sys; s = json.load(sys.stdin); print(s["frames"] + s["journal_bytes"])')
  if [ "$waits" != 0 ]; then
    echo "uninstall.sh: readings wait for the hub that only this device has; see them with:" >&2
    echo "  $home/bin/penstock edge spool --data $data" >&2
    echo "let it send them first (systemctl start penstock-edge), or give them up with --discard" >&2
    exit 1
  fi
fi
if [ -z "$root" ]; then
  systemctl disable --quiet penstock-edge 2>/dev/null || true
fi
rm -rf "$home" "$data" "$root/etc/penstock" "$root/etc/systemd/system/penstock-edge.service"
if [ -z "$root" ]; then
  systemctl daemon-reload
  systemctl reset-failed penstock-edge 2>/dev/null || true
  ! id penstock >/dev/null 2>&1 || userdel penstock
fi
echo "the edge agent is gone"
