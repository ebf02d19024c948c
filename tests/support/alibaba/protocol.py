"""What all products share: parameters as they arrive, refusals as they leave, pages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


class Refusal(Exception):
    """An error answer: Alibaba's code, words for people, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = dict(headers or {})


def not_found(what: str, value: object) -> Refusal:
    return Refusal("NotFound", f"The specified {what} {value!r:.80} does not exist.")


class Parameters:
    """A request's parameters, all of them text, whether they came in the query or in the form.

    Clients write booleans as ``True`` (Python) or ``true`` (Node); lists as ``X.1``, ``X.2``, as a JSON array, or
    with commas. An empty text is as good as none.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name) or default

    def required(self, name: str) -> str:
        """Raises: Refusal: `MissingParameter`."""
        if not self._values.get(name):
            raise Refusal("MissingParameter", f"{name} is mandatory for this action.")
        return self._values[name]

    def number(self, name: str, default: int = 0) -> int:
        """Raises: Refusal: `InvalidParameter`."""
        text = self.text(name)
        if text and not re.fullmatch(r"-?\d{1,18}", text):
            raise Refusal("InvalidParameter", f"{name} is {text!r:.40}, which is no integer.")
        return int(text) if text else default

    def flag(self, name: str) -> bool:
        """Raises: Refusal: `InvalidParameter`."""
        text = self.text(name, "false").lower()
        if text not in {"true", "false"}:
            raise Refusal("InvalidParameter", f"{name} is {text!r:.40}, which is neither true nor false.")
        return text == "true"

    def several(self, name: str) -> list[str]:
        """A list, in whichever of its forms."""
        numbered = {
            int(key.removeprefix(f"{name}.")): value
            for key, value in self._values.items()
            if re.fullmatch(rf"{name}\.\d{{1,6}}", key)
        }
        if numbered:
            return [numbered[number] for number in sorted(numbered)]
        text = self.text(name)
        if text.startswith("["):
            try:
                return [str(one) for one in json.loads(text)]
            except ValueError:
                raise Refusal("InvalidParameter", f"{name} is no JSON array.") from None
        return [part.strip() for part in text.split(",") if part.strip()]

    def tags(self) -> list[dict[str, str]]:
        """``Tags.N.Key`` and ``Tags.N.Value`` as answers give them."""
        found: dict[str, dict[str, str]] = {}
        for key, value in self._values.items():
            if parts := re.fullmatch(r"Tags\.(\d{1,6})\.(Key|Value)", key):
                found.setdefault(parts[1], {})[f"Tag{parts[2]}"] = value
        return [found[number] for number in sorted(found, key=int)]


def page(items: list, parameters: Parameters, size: int) -> tuple[list, dict[str, int]]:
    """The part of `items` that was asked for, and the fields that say which; `size` is the usual one.

    Raises:
        Refusal: `InvalidParameter`.
    """
    number, shown = parameters.number("CurrentPage", 1), parameters.number("ShowSize", size)
    if number < 1 or shown < 1:
        raise Refusal("InvalidParameter", "CurrentPage and ShowSize begin at 1.")
    fields = {"TotalCount": len(items), "CurrentPage": number, "ShowSize": shown}
    return items[(number - 1) * shown : number * shown], fields


def page_count(fields: Mapping[str, int]) -> dict[str, int]:
    """The field `PageCount`, which only some actions have."""
    return {"PageCount": -(-fields["TotalCount"] // fields["ShowSize"])}
