"""One file for each dashboard; what is here is the table of them."""

from collections.abc import Sequence

from deploy.monitoring.dashboards.fanout import FANOUT
from deploy.monitoring.dashboards.gateway import GATEWAY
from deploy.monitoring.dashboards.jobs import JOBS
from deploy.monitoring.dashboards.log import LOG
from deploy.monitoring.dashboards.overview import OVERVIEW
from deploy.monitoring.dashboards.tenants import TENANTS
from deploy.monitoring.panels import Dashboard

ALL: Sequence[Dashboard] = (OVERVIEW, LOG, JOBS, FANOUT, GATEWAY, TENANTS)
