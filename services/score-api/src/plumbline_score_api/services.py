"""What the routes work with, built once by `app.py`."""

from dataclasses import dataclass

from plumbline_score_api.audit.service import AuditService
from plumbline_score_api.comparisons.service import ComparisonService
from plumbline_score_api.controls.service import ControlService
from plumbline_score_api.decisions.service import DecisionService
from plumbline_score_api.events.service import EventService
from plumbline_score_api.exports.service import ExportService
from plumbline_score_api.findings.service import FindingService
from plumbline_score_api.graph.service import GraphService
from plumbline_score_api.history.service import HistoryService
from plumbline_score_api.instances.disconnecting import DisconnectingService
from plumbline_score_api.instances.service import InstanceService
from plumbline_score_api.keys.service import KeyService
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.recommendations.service import RecommendationService
from plumbline_score_api.scores.service import ScoreService
from plumbline_score_api.webhooks.service import WebhookService
from plumbline_score_api.zones.service import ZoneService


@dataclass(frozen=True)
class Services:
    """The services of the role `serve`."""

    keys: KeyService
    pictures: PictureService
    scores: ScoreService
    controls: ControlService
    instances: InstanceService
    disconnecting: DisconnectingService
    recommendations: RecommendationService
    decisions: DecisionService
    history: HistoryService
    comparisons: ComparisonService
    zones: ZoneService
    audit: AuditService
    webhooks: WebhookService
    events: EventService
    findings: FindingService
    graph: GraphService
    exports: ExportService
