"""
Draws ``docs/pictures/relevance_curve.svg``: the relevance that the emulator measures in its sample, by size, and what the policies choose.

``make docs`` draws it. The figures are measured, on 100,000 users with known preferences, as in the demo.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import boto3

from airflow_cleanroomsml._pipelines.audience_size import (
    Bin,
    Metrics,
    choose_by_knee,
    choose_by_relevance,
    read_metrics,
)
from airflow_cleanroomsml.emulator.sample.instructions import BUCKET, OWNER, REGION, ROLE
from airflow_cleanroomsml.emulator.sample.load import load_sample
from airflow_cleanroomsml.emulator.server import Emulator
from airflow_cleanroomsml.emulator.settings import Settings
from tools.pictures import FOLDER

PICTURE = FOLDER / "relevance_curve.svg"
_USERS, _SIZES = 100_000, range(1, 21)

#: Position of the plot, in pixels; range of the vertical axis.
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 610, 34, 286
_LEAST, _MOST = -0.6, 0.8
_LINE, _CURVE, _CHOICE = "#737b86", "#3f7fe0", "#c26a12"


def measure() -> Metrics:
    """Run a generation job with 20 sizes on the sample, and return its metrics, rounded to two decimals."""
    with Emulator(Settings(scale=_USERS / 2_000_000, pending_seconds=0, progress_seconds=0)) as emulator:
        sample = load_sample(emulator.url, _USERS)
        session: Any = boto3.session.Session(OWNER, "any", region_name=REGION)
        ml = session.client("cleanroomsml", endpoint_url=emulator.url)
        configured = ml.create_configured_audience_model(
            name="curve",
            audienceModelArn=sample.audience_model_arn,
            outputConfig={"destination": {"s3Destination": {"s3Uri": f"s3://{BUCKET}/curve"}}, "roleArn": ROLE},
            sharedAudienceMetrics=["ALL"],
            audienceSizeConfig={"audienceSizeType": "PERCENTAGE", "audienceSizeBins": list(_SIZES)},
        )["configuredAudienceModelArn"]
        job = ml.start_audience_generation_job(
            name="curve",
            configuredAudienceModelArn=configured,
            seedAudience={"dataSource": {"s3Uri": f"s3://{BUCKET}/seed/users.jsonl"}, "roleArn": ROLE},
        )["audienceGenerationJobArn"]
        while "metrics" not in (found := ml.get_audience_generation_job(audienceGenerationJobArn=job)):
            if found["status"] not in {"CREATE_PENDING", "CREATE_IN_PROGRESS", "ACTIVE"}:
                raise SystemExit(f"The job is {found['status']}: {found.get('statusDetails')}")
            time.sleep(0.1)
    metrics = read_metrics(found["metrics"])
    bins = tuple(each._replace(relevance=round(each.relevance or 0, 2)) for each in metrics.bins)
    return metrics._replace(bins=bins, recall=round(metrics.recall or 0, 2))


def draw(metrics: Metrics) -> str:
    """Draw the curve, with the sizes that the policies ``relevance`` and ``knee`` choose, as SVG."""
    points = " ".join(f"{_scale_x(each.value)},{_scale_y(each.relevance or 0)}" for each in metrics.bins)
    dots = "".join(
        f'<circle cx="{_scale_x(each.value)}" cy="{_scale_y(each.relevance or 0)}" r="3" fill="{_CURVE}"/>'
        for each in metrics.bins
    )
    figures = {"relevance": [each.relevance for each in metrics.bins], "recall": metrics.recall}
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="640" height="340" viewBox="0 0 640 340" font-size="12" fill="{_LINE}" '
        f'font-family="Helvetica, Arial, sans-serif" role="img" aria-label="Relevance by size of the audience">'
    )
    recall = f"recall {metrics.recall}; a random audience has {metrics.random_recall}"
    parts = [
        head,
        f"<desc>{json.dumps(figures)}</desc>",
        *(_draw_level(level / 5) for level in range(-3, 5)),
        *(
            f'<text x="{_scale_x(size)}" y="{_BOTTOM + 18}" text-anchor="middle">{size} %</text>'
            for size in (1, *_SIZES[4::5])
        ),
        f'<text x="{(_LEFT + _RIGHT) // 2}" y="{_BOTTOM + 42}" text-anchor="middle">size: share of the training users</text>',
        f'<text x="{_LEFT - 44}" y="{_TOP - 16}">relevance</text>',
        f'<polyline points="{points}" fill="none" stroke="{_CURVE}" stroke-width="2"/>',
        dots,
        *_draw_choices(metrics.bins),
        f'<text x="{_RIGHT}" y="{_TOP - 16}" text-anchor="end">{recall}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def read_figures(text: str) -> Metrics:
    """Read the figures of a picture back."""
    found = re.search(r"<desc>(.*)</desc>", text)
    figures = json.loads(found[1] if found else "{}")
    bins = tuple(Bin("PERCENTAGE", size, score) for size, score in zip(_SIZES, figures["relevance"], strict=True))
    return Metrics(bins, figures["recall"], max(_SIZES) / 100)


def _scale_x(size: float) -> int:
    return round(_LEFT + (size - _SIZES[0]) / (_SIZES[-1] - _SIZES[0]) * (_RIGHT - _LEFT))


def _scale_y(score: float) -> int:
    return round(_BOTTOM - (score - _LEAST) / (_MOST - _LEAST) * (_BOTTOM - _TOP))


def _draw_level(score: float) -> str:
    dashes = "" if score == 0 else ' stroke-dasharray="2 4"'
    y = _scale_y(score)
    label = f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{score:.1f}</text>'
    return f'<path d="M{_LEFT - 6} {y}H{_RIGHT}" stroke="{_LINE}"{dashes}/>{label}'


def _draw_choices(bins: Sequence[Bin]) -> list[str]:
    chosen = {"relevance": choose_by_relevance(bins, 0), "knee": choose_by_knee(bins)}
    drawn = []
    for (policy, bin_), height in zip(chosen.items(), (0.5, 0.3), strict=True):
        if bin_ is None:
            raise SystemExit(f"policy={policy} chooses no size")
        x, y = _scale_x(bin_.value), _scale_y(bin_.relevance or 0)
        drawn.append(
            f'<path d="M{x} {y - 6}V{_scale_y(height) + 6}" stroke="{_CHOICE}"/>'
            f'<circle cx="{x}" cy="{y}" r="6" fill="none" stroke="{_CHOICE}" '
            f'stroke-width="2"/><text x="{x + 4}" y="{_scale_y(height)}" fill="{_CHOICE}" font-weight="bold">'
            f"policy=&quot;{policy}&quot;: {bin_.value} %</text>"
        )
    return drawn


def main() -> None:
    """Measure and draw."""
    PICTURE.write_text(draw(measure()), encoding="utf-8")


if __name__ == "__main__":
    main()
