"""π0 and π0.5 in PyTorch: images, an instruction and a state to a chunk of actions.

In the order of a chunk's way from pixels to actions:

pi_policy        what `policy: pi0` and `pi05` serve
pi_options       what a checkpoint does not say
checkpoint_layout  what a directory holds, openpi's or LeRobot's
robot_data       the steps between a robot and the model
prompt_text      the instruction as text
word_pieces      text as tokens
pi_sample        one observation as the model takes it
pi_model         a batch on a device
image_preparation  pixels as the vision tower takes them
pi_weights       the tensors of a directory
denoising        from noise to a chunk that continues a plan

architecture     the sizes of a model
vision_tower     an image to tokens (SigLIP)
gemma            the transformer that images and words go through, and that of the actions
flow_head        noisy actions, time and state to tokens, and tokens to a velocity
pi_network       the whole: the prefix once, then a velocity for each Euler step
tensor_names     the names of the tensors in openpi's and LeRobot's files

Sources: openpi (`src/openpi/models/pi0.py`, `gemma.py`, `siglip.py`, `models_pytorch/`), LeRobot
0.6.1 (`policies/pi0`, `policies/pi05`), arXiv 2410.24164 (π0) and 2504.16054 (π0.5).
"""
