"""What a run would take on other machines: time, FLOPs and memory by phase, predicted from a run that was measured.

Not here: what this machine can run (doctor).

    a call of one engine   step · (steps of its batch)  +  token · (tokens)  +  swap, where the weights are new
    a LoRA round           begin  +  flop · (FLOPs of the round) / ranks of one node
    sampler, commit        once  +  each · (observations)

The rates are fitted to the journal of times of a finished run (`rates.py`); steps and tokens of other sizes follow from
its own lengths, yields and schedule (`work.py`). More engines share the tokens of a wave; the steps of its longest
rationale they cannot share.
"""
