"""Every parameter the sandbox accepts is one that the SDK may send, down to the words of its enumerations."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from portal.sandbox.endpoints import Endpoint
from portal.sandbox.parameters import Array, Choice, Hash, Param, TimestampOr
from portal.sandbox.resources import ENDPOINTS
from tests.contract.request_annotations import Parameter, normal, operations, parameter_classes

# Still taken from requests that name an older API version, and refused from those that name the current one.
RETIRED = {"payment_method_types", "phases[iterations]", "schedule_details[phases][iterations]"}
# Required by the sandbox where Stripe asks for one of several, or where the hosted page cannot do without.
STRICTER = {
    "add_invoice_items[price]",
    "card",
    "customer",
    "items",
    "items[price]",
    "line_items",
    "line_items[price]",
    "line_items[quantity]",
    "mode",
    "phases[items][price]",
    "schedule_details[phases][items][price]",
    "success_url",
    "trial_settings[end_behavior][missing_payment_method]",
    "type",
}


@dataclass
class Comparison:
    """Compares one endpoint's declaration with the SDK's type, and counts."""

    module: str
    problems: list[str] = field(default_factory=list)
    parameters: int = 0
    words: int = 0

    def compare(self, ours: Mapping[str, Param], theirs: Mapping[str, Parameter], prefix: str = "") -> None:
        """Check names, requirements and words at this level and below."""
        for name, param in ours.items():
            path = f"{prefix}[{name}]" if prefix else name
            if path in RETIRED:
                continue
            self.parameters += 1
            known = theirs.get(name)
            if known is None:
                self.problems.append(f"the SDK cannot send {path}")
            else:
                self._one(param, known, path)
        for name, known in theirs.items():
            path = f"{prefix}[{name}]" if prefix else name
            if known.required and (name not in ours or not ours[name].required):
                self.problems.append(f"{path} is required by the SDK")

    def _one(self, param: Param, known: Parameter, path: str) -> None:
        if param.required and not known.required and path not in STRICTER:
            self.problems.append(f"{path} is not required by the SDK")
        inner = param.item if isinstance(param, Array) else param
        if isinstance(inner, Choice | TimestampOr):
            self.words += len(inner.options)
            unknown = set(inner.options) - known.words
            if unknown and known.words:
                self.problems.append(f"{path} takes {sorted(unknown)}, which the SDK does not know")
        if isinstance(inner, Hash):
            if known.members is None:
                self.problems.append(f"{path} is no hash in the SDK")
            else:
                self.compare(inner.fields, parameter_classes(self.module)[known.members], path)


def _comparison(endpoint: Endpoint) -> Comparison:
    operation = operations()[endpoint.method, normal(endpoint.path)]
    comparison = Comparison(operation.params_module)
    comparison.compare(endpoint.parameters, parameter_classes(operation.params_module)[operation.params_class])
    return comparison


# The SDK reads the own account at an address without a service of its own; payment pages are Stripe's own programs'.
_IN_SDK = [
    endpoint
    for endpoint in ENDPOINTS
    if endpoint.path != "/v1/account" and not endpoint.path.startswith("/v1/payment_pages/")
]


@pytest.mark.parametrize("endpoint", _IN_SDK, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_parameters_are_the_sdks(endpoint: Endpoint) -> None:
    assert _comparison(endpoint).problems == []


def test_enough_is_compared() -> None:
    """Guards against a reader that finds nothing."""
    comparisons = [_comparison(endpoint) for endpoint in _IN_SDK]
    assert len(operations()) > 400
    assert sum(comparison.parameters for comparison in comparisons) > 250
    assert sum(comparison.words for comparison in comparisons) > 100


def test_the_comparison_sees_faults() -> None:
    operation = operations()["POST", "/v1/prices"]
    theirs = parameter_classes(operation.params_module)
    comparison = Comparison(operation.params_module)
    ours = {
        "curency": Choice(),
        "recurring": Hash(fields={"interval": Choice(options=("fortnight",), required=True), "every": Choice()}),
    }
    comparison.compare(ours, theirs[operation.params_class])
    assert sorted(comparison.problems) == [
        "currency is required by the SDK",
        "recurring[interval] takes ['fortnight'], which the SDK does not know",
        "the SDK cannot send curency",
        "the SDK cannot send recurring[every]",
    ]
