"""What a report says of p*, of the nodes to ask for, and of where communication dominates."""

import emulator.speedup
from emulator.report.views import speedup


def test_the_verdict_names_optimum_interval_and_domination():
    textbook = emulator.speedup.textbook(1.0, 0.0008, 0.040).answers()
    assert list(speedup.optimum({**textbook, "best_ci95": (30, 4096)})) == [
        "p* = 34 [30, > 4096], S(p*) = 7.49, efficiency 22.0 %, R(p*) = 3.54",
        "nodes to ask for (5 % off): 21, S = 7.15, efficiency 34.1 %",
        "recommended (efficiency >= 50 %): 12, S = 6.04, efficiency 50.4 %",
        "communication dominates from p = 13, where S = 6.24",
    ]


def test_no_optimum_is_claimed_where_more_nodes_help_as_far_as_the_model_is_asked():
    assert list(speedup.optimum(emulator.speedup.textbook(100.0, 1e-6, 1e-6).answers())) == [
        "p* > 4096: more nodes shorten the step as far as the model is asked",
        "communication does not dominate up to p = 4096",
    ]
