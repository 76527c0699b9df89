"""Running Penstock elsewhere: containers, and Grafana dashboards as code."""
