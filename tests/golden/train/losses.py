#!/usr/bin/env python3
"""Makes losses.safetensors: values and gradients of losses, from float64 PyTorch, stored as float32.

Inputs, shared by the losses (N = 2, C = 5, H = 9, W = 7):
  logits [N, C, H, W] f32; labels [N, H, W] u8, some 255 (ignored); clean_labels: the same without 255, and without
  class 4 in the second image; validity [N, H, W] u8: 0 where a pixel counts for nothing; class_weights [C] f32;
  positive_weights [C] f32; multi [N, C, H, W] u8: independent labels a class; targets [N, C, H, W] f32: for regression
Results: `NAME.value` [] f32, `NAME.gradient` [N, C, H, W] f32, its derivative by the logits (or predictions).

In what follows x are logits, y labels, p = softmax(x) over the classes, t the one-hot labels, V the set of pixels that
count: label not 255, and validity not 0 for names that end in `.valid`. All sums over pixels are over V and over the
whole batch; w_c are class weights (1 without). eps is 1e-7 unless said.

ce                   sum w_y (-log p_y) / sum w_y
ce.smoothed          label smoothing s = 0.1, as torch: [(1 - s) sum w_y (-log p_y) + s/C sum_pixels sum_c w_c (-log p_c)] / sum w_y
  also .weighted, .smoothed.weighted, .valid, .smoothed.weighted.valid
bce                  multi-label: mean over V x C of softplus(x) - m x; .weighted: each class's term times w_c (mean still
                     over V x C); .positive: -[q_c m log s(x) + (1 - m) log(1 - s(x))], q the positive weights, s the sigmoid
bce.onehot           t instead of independent labels, C outputs (labels with 255)
bce.binary           one output x_0 [N, 1, H, W] (the gradient too), target y >= 1
dice                 1 - mean_c (2 sum p t + eps) / (sum p + sum t + eps)
dice.squared         1 - mean_c (2 sum p t + eps) / (sum p^2 + sum t^2 + eps)
dice.weighted        1 - sum_c w_c D_c / sum_c w_c, with D_c as in dice
dice.sigmoid         s(x) instead of p, independent labels
  also .valid; dice.absent: clean_labels of the second image only (N = 1), where class 4 is absent
jaccard              1 - mean_c (sum p t + eps) / (sum p + sum t - sum p t + eps);   .valid, .weighted as for dice
focal                gamma 2: sum w_y (1 - p_y)^2 (-log p_y) / |V|;   .weighted, .valid;   focal.sigmoid: independent
                     labels, q = s(x) where m else 1 - s(x): mean over V x C of (1 - q)^2 (-log q)
lovasz               Lovász-softmax, classes present, all pixels of the batch together. For a class c with a label in V:
                     e_i = |t_ic - p_ic|, sorted falling; J_k = 1 - (G - sum_{j<=k} t_j) / (G + sum_{j<=k} (1 - t_j)),
                     G = sum t; loss_c = sum_k e_k (J_k - J_{k-1}), J_0 = 0; mean over the classes present. .valid
mse, l1, huber       targets, mean over V x C of d^2; |d|; d^2 / 2 where |d| <= 1 else |d| - 1/2 (V: validity). .valid
                     (without .valid all pixels count)
mixture              0.6 ce + 0.4 dice
aux                  ce(x) + 0.4 ce(aux_logits); also aux.gradient_aux. aux_logits [N, C, H, W] f32

InnerEye's variants (labels: clean_labels, no pixel is ignored):
innereye.dice        eps = 1e-10 a pixel: I = sum (p t + eps), S = sum (p^2 + eps) + sum (t^2 + eps), per image and class;
                     1 - 2 mean_{n,c} I / S
innereye.dice.power  the mean is of w_c I / S with w of class_weight_power 1 (below)
innereye.weights.power_1 [C] and .power_0.5: n_c pixels of class c in the batch (0 counts as 1), w_c = n_c^(-power),
                     scaled to mean 1
innereye.ce          plain mean over all pixels of -log p_y
innereye.ce.power    plain mean over all pixels of -w_y log p_y, power 1 (no division by sum w)
innereye.ce.smoothed smoothing s = 0.1: t' = t (1 - s) + (1 - t) s / (C - 1); mean over pixels and classes of -t' log p
innereye.ce.smoothed.power    mean over pixels of sum_c -w_c t'_c log p_c
innereye.focal       gamma 1; q = (1 - p_y + 1e-6)^gamma, then q / (sum q + 1e-6) times the number of pixels; q is a
                     constant to the gradient: mean of q (-log p_y)
innereye.focal.gamma_2.power  gamma 2, and w_y of power 1 in each term
innereye.mixture     (1 dice + 3 ce.power) / 4
"""
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

here = Path(__file__).parent
sys.path.insert(0, str(here / "../../parity"))
from parameters import save  # noqa: E402

torch.set_num_threads(1)
N, C, H, W = 2, 5, 9, 7
EPS = 1e-7
generator = torch.Generator().manual_seed(5)


def normal(*shape):
    return torch.randn(*shape, generator=generator).double()


def single(x):
    """To float32 and back: what the reader of the file starts from."""
    return x.float().double()


logits, aux_logits, targets = single(normal(N, C, H, W) * 2), single(normal(N, C, H, W)), single(normal(N, C, H, W) * 1.5)
clean = (logits + 2.5 * normal(N, C, H, W)).argmax(1)
clean[1][clean[1] == 4] = 1
labels = clean.clone()
labels[torch.rand(labels.shape, generator=generator) < 0.12] = 255
validity = torch.rand(N, H, W, generator=generator) < 0.8
validity[0, :2] = False
multi = (torch.rand(N, C, H, W, generator=generator) < 0.35).double()
weights = single(torch.tensor([0.5, 1.0, 2.0, 0.75, 3.0]))
positive = single(torch.tensor([2.0, 1.0, 0.5, 4.0, 1.5]))
everything = torch.ones(N, H, W, dtype=torch.bool)
out = dict(logits=logits, aux_logits=aux_logits, targets=targets, class_weights=weights, positive_weights=positive)
bytes_out = dict(labels=labels, clean_labels=clean, validity=validity, multi=multi)


def counted(y, valid):
    return (y != 255) & valid


def one_hot(y):
    return F.one_hot(torch.where(y == 255, 0, y), C).movedim(-1, 1).double()


def flat(x, where):
    """[N, C, H, W] -> [pixels that count, C]."""
    return x.movedim(1, -1)[where]


def ce(x, y, valid, w=None, smoothing=0.0):
    return F.cross_entropy(x, torch.where(valid, y, 255), w, ignore_index=255, label_smoothing=smoothing)


def bce(x, m, where, w=None, q=None):
    x, m = flat(x, where), flat(m, where)
    q = torch.ones(x.shape[1], dtype=x.dtype) if q is None else q
    terms = -(q * m * F.logsigmoid(x) + (1 - m) * F.logsigmoid(-x))
    return (terms if w is None else terms * w).mean()


def dice(p, t, where, squared=False, w=None):
    p, t = flat(p, where), flat(t, where)
    below = (p ** 2 + t ** 2).sum(0) if squared else (p + t).sum(0)
    score = (2 * (p * t).sum(0) + EPS) / (below + EPS)
    return 1 - (score.mean() if w is None else (w * score).sum() / w.sum())


def jaccard(p, t, where, w=None):
    p, t = flat(p, where), flat(t, where)
    both = (p * t).sum(0)
    score = (both + EPS) / (p.sum(0) + t.sum(0) - both + EPS)
    return 1 - (score.mean() if w is None else (w * score).sum() / w.sum())


def focal(x, y, valid, w=None, gamma=2.0):
    where = counted(y, valid)
    log = torch.log_softmax(flat(x, where), 1)
    y = y[where]
    log = log.gather(1, y[:, None])[:, 0]
    terms = (1 - log.exp()) ** gamma * -log
    return (terms if w is None else terms * w[y]).mean()


def focal_sigmoid(x, m, where):
    x, m = flat(x, where), flat(m, where)
    log = torch.where(m > 0, F.logsigmoid(x), F.logsigmoid(-x))
    return ((1 - log.exp()) ** 2 * -log).mean()


def lovasz(x, y, valid):
    where = counted(y, valid)
    p, t = flat(torch.softmax(x, 1), where), flat(one_hot(y), where)
    terms = []
    for c in range(C):
        if t[:, c].sum() == 0:
            continue
        error = (t[:, c] - p[:, c]).abs()
        order = error.detach().argsort(descending=True)
        hit = t[order, c]
        total = hit.sum()
        index = 1 - (total - hit.cumsum(0)) / (total + (1 - hit).cumsum(0))
        terms.append((error[order] * torch.diff(index, prepend=index.new_zeros(1))).sum())
    return torch.stack(terms).mean()


def power_weights(y, power):
    n = torch.bincount(y.flatten(), minlength=C).double().clamp(min=1)
    w = n ** -power
    return w / w.mean()


def innereye_dice(x, y, w=None):
    p, t = torch.softmax(x, 1), one_hot(y)
    inner = (p * t + 1e-10).sum((2, 3))
    below = (p ** 2 + 1e-10).sum((2, 3)) + (t ** 2 + 1e-10).sum((2, 3))
    score = inner / below
    return 1 - 2 * (score if w is None else w * score).mean()


def innereye_ce(x, y, w=None, smoothing=0.0):
    log = torch.log_softmax(x, 1)
    if smoothing == 0:
        terms = -log.gather(1, y[:, None])[:, 0]
        return (terms if w is None else terms * w[y]).mean()
    t = one_hot(y) * (1 - smoothing) + (1 - one_hot(y)) * smoothing / (C - 1)
    terms = -log * t
    return terms.mean() if w is None else (terms * w[:, None, None]).sum(1).mean()


def innereye_focal(x, y, gamma=1.0, w=None):
    log = torch.log_softmax(x, 1).gather(1, y[:, None])[:, 0]
    q = (1 - log.exp() + 1e-6) ** gamma
    q = (q / (q.sum() + 1e-6) * q.numel()).detach()
    terms = -log * q
    return (terms if w is None else terms * w[y]).mean()


def record(name, function, x=logits):
    x = x.clone().requires_grad_()
    value = function(x)
    value.backward()
    out[f"{name}.value"], out[f"{name}.gradient"] = value.detach(), x.grad


def soft(x):
    return torch.softmax(x, 1)


for suffix, valid in (("", everything), (".valid", validity)):
    where, t = counted(labels, valid), one_hot(labels)
    record("ce" + suffix, lambda x: ce(x, labels, valid))
    record("ce.smoothed.weighted" + suffix, lambda x: ce(x, labels, valid, weights, 0.1))
    record("bce" + suffix, lambda x: bce(x, multi, valid))
    record("bce.onehot" + suffix, lambda x: bce(x, t, where))
    record("dice" + suffix, lambda x: dice(soft(x), t, where))
    record("dice.squared" + suffix, lambda x: dice(soft(x), t, where, True))
    record("dice.sigmoid" + suffix, lambda x: dice(torch.sigmoid(x), multi, valid))
    record("jaccard" + suffix, lambda x: jaccard(soft(x), t, where))
    record("focal" + suffix, lambda x: focal(x, labels, valid))
    record("focal.sigmoid" + suffix, lambda x: focal_sigmoid(x, multi, valid))
    record("lovasz" + suffix, lambda x: lovasz(x, labels, valid))
    for kind, function in (("mse", F.mse_loss), ("l1", F.l1_loss), ("huber", F.huber_loss)):
        record(kind + suffix, lambda x: function(flat(x, valid), flat(targets, valid)))
where, t = counted(labels, everything), one_hot(labels)
record("ce.weighted", lambda x: ce(x, labels, everything, weights))
record("ce.smoothed", lambda x: ce(x, labels, everything, None, 0.1))
record("bce.weighted", lambda x: bce(x, multi, everything, weights))
record("bce.positive", lambda x: bce(x, multi, everything, None, positive))
record("bce.binary", lambda x: bce(x, (labels[:, None] >= 1).double(), where), logits[:, :1])
record("dice.weighted", lambda x: dice(soft(x), t, where, False, weights))
record("dice.absent", lambda x: dice(soft(x), one_hot(clean[1:]), everything[1:]), logits[1:])
record("jaccard.weighted", lambda x: jaccard(soft(x), t, where, weights))
record("focal.weighted", lambda x: focal(x, labels, everything, weights))
record("mixture", lambda x: 0.6 * ce(x, labels, everything) + 0.4 * dice(soft(x), t, where))
record("aux", lambda x: ce(x, labels, everything) + 0.4 * ce(aux_logits, labels, everything))
record("aux_only", lambda a: 0.4 * ce(a, labels, everything), aux_logits)
out["aux.gradient_aux"] = out.pop("aux_only.gradient")
del out["aux_only.value"]

by_count = power_weights(clean, 1.0)
out["innereye.weights.power_1"], out["innereye.weights.power_0.5"] = by_count, power_weights(clean, 0.5)
record("innereye.dice", lambda x: innereye_dice(x, clean))
record("innereye.dice.power", lambda x: innereye_dice(x, clean, by_count))
record("innereye.ce", lambda x: innereye_ce(x, clean))
record("innereye.ce.power", lambda x: innereye_ce(x, clean, by_count))
record("innereye.ce.smoothed", lambda x: innereye_ce(x, clean, None, 0.1))
record("innereye.ce.smoothed.power", lambda x: innereye_ce(x, clean, by_count, 0.1))
record("innereye.focal", lambda x: innereye_focal(x, clean))
record("innereye.focal.gamma_2.power", lambda x: innereye_focal(x, clean, 2.0, by_count))
record("innereye.mixture", lambda x: (innereye_dice(x, clean) + 3 * innereye_ce(x, clean, by_count)) / 4)

tensors = {k: v.float().numpy() for k, v in out.items()} | {k: v.to(torch.uint8).numpy() for k, v in bytes_out.items()}
save(tensors, here / "losses.safetensors", {"torch": torch.__version__})
for name in sorted(k[:-6] for k in out if k.endswith(".value")):
    print(f"{name:32} {out[name + '.value'].item():.6f}  gradient {out[name + '.gradient'].norm():.4f}")
