"""What an ARN names, in words: one of the wrong kind is a common mistake, and a pattern is no help with it."""

from __future__ import annotations

import re

#: What the words of an ARN are called, where that is not the word itself.
_SPOKEN = {
    "analysistemplate": "analysis template",
    "configuredaudiencemodelassociation": "configured audience model association",
    "configuredtable": "configured table",
    "configuredtableassociation": "configured table association",
    "idmappingtable": "ID mapping table",
    "intermediatetable": "intermediate table",
    "ml-input-channel": "ML input channel",
}
#: Services whose ARNs have a word for what they name, and what is said before it.
_SERVICES = {"cleanrooms": "", "cleanrooms-ml": "", "iam": "IAM ", "kms": "KMS "}
#: What repeats or escapes in a pattern, and its classes of characters; what is left of it are its words.
_CLASSES = re.compile(r"\[[^]]*\]|\\.|\{[^}]*\}")
_WORD = re.compile(r"[a-z]{2,}(?:-[a-z]+)*")
#: What comes before the word in the ARN of something that belongs to a member.
_OWNER = "membership"


def kind(arn: str) -> str:
    """What an ARN names, with its article, for instance "an audience model"; nothing where it is no ARN or names no known kind."""
    service, resource = _parts(arn)
    words = resource.split("/")
    word = words[2] if words[0] == _OWNER and len(words) > 2 else words[0]
    return _spoken(service, word) if service and _WORD.fullmatch(word) else ""


def kinds(pattern: str) -> list[str]:
    """What the ARNs of a pattern name; nothing where that cannot be told from it."""
    service, resource = _parts(pattern)
    if not service or "arn:" in resource:
        return []
    words = _WORD.findall(_CLASSES.sub(" ", resource))
    return [_spoken(service, word) for word in words if word != _OWNER]


def _parts(arn: str) -> tuple[str, str]:
    """Service and resource; those of a pattern are written like those of an ARN."""
    parts = arn.split(":", 5)
    known = len(parts) == 6 and parts[0] == "arn" and parts[2] in _SERVICES
    return (parts[2], parts[5]) if known else ("", "")


def _spoken(service: str, word: str) -> str:
    name = _SERVICES[service] + _SPOKEN.get(word, word.replace("-", " "))
    return f"{'an' if name.startswith(('a', 'i', 'I', 'ML')) else 'a'} {name}"
