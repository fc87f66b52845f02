"""Policies, which predict action chunks. They import no actor, robot or transport.

base          the interface of a policy: its spec, observations, chunks (no torch)
checkpoint    a trained policy on disk (no torch)
policy_options  the options of each kind of policy (no torch)
kinds         policies by kind
lerobot       policies of the LeRobot library, in its own interpreter
steps         the data of openpi's models as steps that compose (no torch)
processing    the steps before and after a network: normalize, tokens
encoder       cameras, state and instruction as one vector
transformer   over the steps of a chunk
graphs        a network's work as CUDA graphs, where there is a GPU
compilation   a network's parts compiled, where there is none
learned       the base of the trained policies
flow          flow matching (flow_network), continuing a plan by conditioning or guidance (rtc)
act           regression of the whole chunk
synthetic     policies without a network, for tests and benchmarks (no torch)
held_objects  the objects that a policy in memory refers to (no torch)
weights       a hash of the weights of a policy in memory
"""
