"""What methods say of themselves, and that nothing beside them asks what kind they are."""

import pytest

from hsfuse.fusion.compute import CPU, Compute
from hsfuse.fusion.methods import METHODS, choose_method

CLASSICAL = [name for name, entry in METHODS.items() if not entry.takes_weights]
NETWORKS = [name for name, entry in METHODS.items() if entry.takes_weights]


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_methods_run_in_float32_on_the_cpu_with_the_memory_given(name):
    asked = Compute("cpu", "bf16", memory=2**31)
    suited = choose_method(name).method.suited(asked)
    assert (suited.device, suited.precision, suited.memory) == ("cpu", "fp32", 2**31)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_run_as_asked(name):
    asked = Compute("cpu", "bf16")
    assert choose_method(name).method.suited(asked) == asked


def test_weights_say_the_ratios_that_they_were_trained_at():
    chosen = choose_method("mgdunlss")
    trained = chosen.weights.card.ratios
    assert all(chosen.untrained_ratio(ratio) is None for ratio in trained)
    sentence = chosen.untrained_ratio(17)
    assert sentence.startswith("the weights mgdunlss-universal were trained at ratio 2, ")
    assert sentence.endswith("this pair has 17")
    assert choose_method("gsa").untrained_ratio(17) is None


def test_what_is_always_there():
    assert (CPU.device, CPU.precision, CPU.half) == ("cpu", "fp32", None)
