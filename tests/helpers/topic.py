"""An SNS topic in the emulator."""

from __future__ import annotations

import json

from tests.support import World


class Topic:
    """An SNS topic, and the notifications published to it."""

    def __init__(self, world: World) -> None:
        self._sqs = world.client("sqs")
        self._queue = self._sqs.create_queue(QueueName=f"queue-{world.prefix}")["QueueUrl"]
        of = {"QueueUrl": self._queue, "AttributeNames": ["QueueArn"]}
        queue_arn = self._sqs.get_queue_attributes(**of)["Attributes"]["QueueArn"]
        sns = world.client("sns")
        self.arn = sns.create_topic(Name=f"topic-{world.prefix}")["TopicArn"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue_arn)

    def read_messages(self) -> list[tuple[str, str]]:
        """Return subject and message of each notification since the last call."""
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        for each in found:
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
        bodies = [json.loads(each["Body"]) for each in found]
        return [(body["Subject"], body["Message"]) for body in bodies]
