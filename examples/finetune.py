"""Fine-tuning with a classifier, as in the README of Mockingjay: python examples/finetune.py CHECKPOINT"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from downstream.model import example_classifier
from downstream.solver import get_mockingjay_optimizer
from runner_mockingjay import get_mockingjay_model
from utility.command import only_argument

ckpt = only_argument("CHECKPOINT")
solver = get_mockingjay_model(from_path=ckpt)
classifier = example_classifier(input_dim=solver.model.hidden_size, hidden_dim=128, class_num=2).to(solver.device)
params = list(solver.mockingjay.named_parameters()) + list(classifier.named_parameters())
optimizer = get_mockingjay_optimizer(params=params, lr=4e-3, warmup_proportion=0.7, training_steps=50000)
solver.mockingjay.train()

# A batch of spectrograms: (batch_size, seq_len, feature_size)
example_inputs = torch.randn(3, 200, solver.model.input_dim)
for _ in range(2):
    reps = solver.forward_fine_tune(spec=example_inputs)  # (batch_size, seq_len, hidden_size)
    loss = classifier(reps, torch.LongTensor([0, 1, 0]))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(tuple(reps.shape), f"loss {loss.item():.3f}")

torch.save({"Classifier": classifier.state_dict(), "Mockingjay": solver.mockingjay.state_dict()}, "example.ckpt")
