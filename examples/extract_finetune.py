"""S3PRL's wrapper with a classifier, as in its README: python examples/extract_finetune.py CHECKPOINT"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from downstream.model import example_classifier
from downstream.solver import get_optimizer
from originals.s3prl_api import TRANSFORMER  # there: from transformer.nn_transformer import TRANSFORMER
from utility.command import only_argument

ckpt = only_argument("CHECKPOINT")
options = {
    "ckpt_file": ckpt,
    "load_pretrain": "True",
    "no_grad": "False",  # "True" only extracts
    "dropout": "default",
    "spec_aug": "False",
    "spec_aug_prev": "True",
    "weighted_sum": "False",
    "select_layer": -1,
    "permute_input": "False",
}
transformer = TRANSFORMER(options=options, inp_dim=0)
device = next(transformer.parameters()).device
classifier = example_classifier(input_dim=transformer.out_dim, hidden_dim=128, class_num=2).to(device)
params = list(transformer.named_parameters()) + list(classifier.named_parameters())
optimizer = get_optimizer(params=params, lr=4e-3, warmup_proportion=0.7, training_steps=50000)

# A batch of spectrograms: (batch_size, time_step, feature_size)
example_inputs = torch.randn(3, 200, transformer.upstream.input_dim)
for _ in range(2):
    reps = transformer(example_inputs)  # (batch_size, time_step, hidden_size)
    loss = classifier(reps, torch.LongTensor([0, 1, 0]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(tuple(reps.shape), f"loss {loss.item():.3f}")

torch.save({"Classifier": classifier.state_dict(), "Transformer": transformer.state_dict()}, "example.ckpt")
