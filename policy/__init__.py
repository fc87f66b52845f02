"""What predicts chunks. Knows no actor, robot or transport.

base          what a policy is: its spec, observations, chunks (no torch)
checkpoint    a trained policy on disk (no torch)
options       what may be said about a policy beside its checkpoint (no torch)
registry      policies by kind
processing    what happens around a network: normalize, tokens
encoder       cameras, state and instruction as one vector
transformer   over the steps of a chunk
graphs        a network's work as CUDA graphs, where there is a GPU
learned       what the trained policies have in common
flow          flow matching (flow_network), continuing a plan by conditioning or guidance (rtc)
act           regression of the whole chunk
synthetic     policies without a network, for tests and benchmarks (no torch)
"""
