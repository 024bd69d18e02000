"""Apache Airflow provider for AWS Clean Rooms ML."""

__all__ = ["__version__", "get_provider_info"]

__version__ = "0.1.0"

_INTEGRATION = "AWS Clean Rooms ML"
_USER_GUIDE = "https://docs.aws.amazon.com/clean-rooms/latest/userguide/machine-learning.html"


def get_provider_info() -> dict[str, object]:
    """
    Describe this provider to Airflow.

    Every Airflow process calls it at its start, so this module imports nothing.

    :return: What ``provider_info.schema.json`` of Airflow asks for.
    """
    operators = (
        "audience_export_job",
        "audience_generation_job",
        "audience_model",
        "audience_size",
        "call",
        "collaboration",
        "configured_audience_model",
        "configured_audience_model_association",
        "configured_audience_model_policy",
        "configured_model_algorithm",
        "configured_model_algorithm_association",
        "data_check",
        "ml_configuration",
        "ml_input_channel",
        "retraining",
        "tags",
        "trained_model",
        "trained_model_export_job",
        "trained_model_inference_job",
        "training_dataset",
    )
    sensors = (
        "audience_export_job",
        "audience_generation_job",
        "audience_model",
        "ml_input_channel",
        "trained_model",
        "trained_model_export_job",
        "trained_model_inference_job",
    )
    assets = "airflow_cleanroomsml.assets"
    asset_uris = [
        {
            "schemes": ["cleanroomsml"],
            "handler": f"{assets}.sanitize_uri",
            "factory": f"{assets}.create_asset",
            "to_openlineage_converter": f"{assets}.convert_asset_to_openlineage",
        },
    ]
    return {
        "package-name": "airflow-provider-cleanroomsml",
        "name": _INTEGRATION,
        "description": f"`{_INTEGRATION} <{_USER_GUIDE}>`__: lookalike audiences and models on joined data, without sharing data.\n",
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": _USER_GUIDE,
                "tags": ["aws"],
            },
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"airflow_cleanroomsml.operators.{noun}" for noun in operators],
            },
        ],
        "sensors": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"airflow_cleanroomsml.sensors.{noun}" for noun in sensors],
            },
        ],
        "extra-links": [
            f"airflow_cleanroomsml.links.{name}Link"
            for name in (
                "ApiReference",
                "Collaboration",
                "ContainerLogs",
                "Documentation",
                "Input",
                "Output",
                "ServiceQuota",
            )
        ],
        "hooks": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_cleanroomsml.hooks"]},
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["airflow_cleanroomsml.pause", "airflow_cleanroomsml.triggers"],
            },
        ],
        "notifications": [
            "airflow_cleanroomsml.notifications.CleanRoomsMLNotifier",
            "airflow_cleanroomsml.notifications.CleanRoomsMLSnsNotifier",
        ],
        "asset-uris": asset_uris,
        # Airflow 2.11 calls assets datasets.
        "dataset-uris": asset_uris,
    }
