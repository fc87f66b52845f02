"""π0, π0.5 and π0-FAST in PyTorch: images, an instruction and a state to a chunk of actions.

In the order of a chunk's way from pixels to actions:

pi_policy        what `policy: pi0`, `pi05` and `pi0_fast` serve
pi_options       what a checkpoint does not say
checkpoint_layout  what a directory holds, openpi's or LeRobot's
robot_data       the steps between a robot and the model
pi_settings      what a checkpoint says that `holdfast-train` made
trained_data     the steps with which it was trained, and is served
prompt_text      the instruction as text
word_pieces      text as tokens
pi_sample        one observation as the models take it
sampling         what makes it of the data of a robot
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
joined_layers    linear layers of one input as one product
float8_linear    perceptrons that multiply in 8 bits
flow_loss        what training minimizes
answer_loss      what the language model of an insulated expert minimizes
initial_weights  what it begins with
recomputed       layers that training computes twice to need less memory
tensor_names     the names of the tensors in openpi's and LeRobot's files

A chunk of π0.5, by the shapes of a batch of b at the published sizes:

PiPolicy._sample      images uint8 [224, 224, 3] by slot; a text of at most 200 tokens, which has
                      the state in it
prepared              each view [b, 3, 224, 224], from -1 to 1
VisionTower           [b, 256, 1152] for each view, and [b, 256, 2048] at its end
PaliGemma.prefix      views and text one after another, [b, n, 2048]; of them the keys and values
                      of 18 layers are kept, [b, 1, n, 256] each
FlowHead.tokens       noisy actions [b, 50, 32] to [b, 50, 1024], the time to [b, 1, 1024]
PiNetwork.flow        the expert, which sees the prefix in each layer; back to [b, 50, 32]
Denoising.free        ten of these steps from noise to actions
PiPolicy._chunk       [50, 32] to the columns and units of the robot

Letters in the types of tensors: b samples, n tokens, m all tokens that are seen, w their width; h
steps of a chunk, a actions, s states, t times (1, or one for each step); p patches, y and x pixels.

Sources: openpi (`src/openpi/models/pi0.py`, `gemma.py`, `siglip.py`, `models_pytorch/`), LeRobot
0.6.1 (`policies/pi0`, `policies/pi05`, `policies/pi0_fast`), arXiv 2410.24164 (π0), 2504.16054
(π0.5) and 2501.09747 (π0-FAST).
"""
