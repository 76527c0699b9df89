"""Grafana dashboards as code: a file a dashboard, what panels share in one place, the same bytes on every build."""

from deploy.dashboards.build import build
from deploy.dashboards.push import push

__all__ = ["build", "push"]
