"""π0, π0.5 and π0-FAST in PyTorch: images, an instruction and a state to a chunk of actions.

In the order of a chunk's way from pixels to actions:

pi_policy        what `policy: pi0`, `pi05` and `pi0_fast` serve
pi_options       what a checkpoint does not say
checkpoint_layout  what a directory holds, openpi's or LeRobot's
robot_data       the steps between a robot and the model
prompt_text      the instruction as text
word_pieces      text as tokens
pi_sample        one observation as the model takes it
pi_model         a batch of π0 or π0.5 on a device
fast_model       a batch of π0-FAST on a device
image_preparation  pixels as the vision tower takes them
pi_weights       the tensors of a directory
denoising        from noise to a chunk that continues a plan
fast_decoding    the likeliest tokens of a whole chunk
action_tokens    tokens as actions (FAST)

architecture     the sizes of a model
vision_tower     an image to tokens (SigLIP)
gemma            the transformer that images and words go through, and that of the actions
pali_gemma       images and text to the keys and values that a model continues from
flow_head        noisy actions, time and state to tokens, and tokens to a velocity
pi_network       the whole of π0 and π0.5: the prefix once, then a velocity for each Euler step
fast_network     the whole of π0-FAST: the prefix once, then token by token
float8_linear    perceptrons that multiply in 8 bits
tensor_names     the names of the tensors in openpi's and LeRobot's files

Sources: openpi (`src/openpi/models/pi0.py`, `gemma.py`, `siglip.py`, `models_pytorch/`), LeRobot
0.6.1 (`policies/pi0`, `policies/pi05`, `policies/pi0_fast`), arXiv 2410.24164 (π0), 2504.16054
(π0.5) and 2501.09747 (π0-FAST).
"""
