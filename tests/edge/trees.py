"""Trees of /proc and /sys as a small Linux machine shows them."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "proc/loadavg": "0.52 0.58 0.59 1/467 12345\n",
    "proc/stat": "cpu  100 0 50 800 20 0 10 20 0 0\ncpu0 50 0 25 400 10 0 5 10 0 0\nintr 1\n",
    "proc/meminfo": (
        "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\n"
        "SwapTotal:        200 kB\nSwapFree:         150 kB\n"
    ),
    "proc/net/dev": (
        "Inter-|   Receive                            |  Transmit\n"
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier c\n"
        "    lo: 3193 29 0 0 0 0 0 0 3193 29 0 0 0 0 0 0\n"
        "  eth0: 692915431 19470 1 0 0 0 0 0 1128515 11087 2 0 0 0 0 0\n"
    ),
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "50000\n",
    "sys/class/hwmon/hwmon0/name": "nvme\n",
    "sys/class/hwmon/hwmon0/temp1_input": "-5000\n",
    "sys/class/hwmon/hwmon0/temp1_label": "Composite\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/capacity": "87\n",
    "sys/class/power_supply/BAT0/voltage_now": "12034000\n",
    "sys/class/power_supply/BAT0/current_now": "-1500000\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
}


def make_tree(root: Path) -> Path:
    """Make the machine's files below `root`."""
    for name, text in FILES.items():
        write(root, name, text)
    return root


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
