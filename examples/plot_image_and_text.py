"""
=================
Texts find images
=================

A CLIP has a tower for images and one for texts, and the vectors of both lie in one space: what a text
says is near the images that show it. :class:`~sk_sentemb.ImageEmbedder` and
:class:`~sk_sentemb.SentenceEmbedder` of the same model share one copy of it in memory.

To run anywhere, this example builds a tiny CLIP and trains it for a minute on pictures of coloured
shapes that it draws itself. It knows these and nothing else. Set ``SK_SENTEMB_CLIP`` to a folder with a
CLIP, or to a name such as ``sentence-transformers/clip-ViT-B-32``, to see another one on them.
"""

import itertools
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
)

from sk_sentemb import ImageEmbedder, SentenceEmbedder

scratch = TemporaryDirectory()
torch.set_num_threads(1)  # so small a model gains nothing from more

# %%
# The pictures
# ------------
#
# A shape of some colour, somewhere on some ground: 480 things to draw. 60 of them are kept for the
# end: no picture of a blue ring at the left on mint, say, is ever trained on, but blue things, rings,
# things at the left and mint grounds are.

COLORS = {
    "red": "#d62728",
    "green": "#2ca02c",
    "blue": "#1f4fd8",
    "yellow": "#f2c80f",
    "purple": "#8e44ad",
    "black": "#222222",
}
SHAPES = ["circle", "square", "triangle", "ring", "cross"]
PLACES = {"left": (0.27, 0.5), "right": (0.73, 0.5), "top": (0.5, 0.27), "bottom": (0.5, 0.73)}
GROUNDS = {"white": "#ffffff", "grey": "#c8c8c8", "pink": "#ffd0dc", "mint": "#c9f2dd"}
SIDE = 48

rng = np.random.default_rng(0)


def draw(color, shape, place, ground):
    """Draw a shape, a little larger or smaller, a little beside its place."""
    scale = 4  # drawn large and made small, the edges are smooth
    picture = Image.new("RGB", (SIDE * scale, SIDE * scale), GROUNDS[ground])
    pen, fill = ImageDraw.Draw(picture), COLORS[color]
    r = rng.uniform(9, 12) * scale
    x, y = (np.array(PLACES[place]) + rng.uniform(-0.05, 0.05, 2)) * SIDE * scale
    if shape == "circle":
        pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)
    elif shape == "ring":
        pen.ellipse([x - r, y - r, x + r, y + r], outline=fill, width=int(0.4 * r))
    elif shape == "square":
        pen.rectangle([x - 0.88 * r, y - 0.88 * r, x + 0.88 * r, y + 0.88 * r], fill=fill)
    elif shape == "triangle":
        pen.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=fill)
    else:
        pen.rectangle([x - r, y - 0.3 * r, x + r, y + 0.3 * r], fill=fill)
        pen.rectangle([x - 0.3 * r, y - r, x + 0.3 * r, y + r], fill=fill)
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


FORMS = [
    "a {} {} at the {} on {}",
    "the {} {} is at the {}, the ground is {}",
    "{} {}, {}, {} ground",
]

things = [tuple(map(str, thing)) for thing in itertools.product(COLORS, SHAPES, PLACES, GROUNDS)]
order = rng.permutation(len(things))
kept, trained = [things[i] for i in order[:60]], [things[i] for i in order[60:]]

# %%
# A tiny CLIP
# -----------
#
# The classes are the real ones of transformers, only small: 0.2 million weights, where clip-ViT-B-32
# has 151 million. Its tokenizer knows the words of the captions.


def build_clip():
    """Return a CLIP with random weights, its tokenizer and its image processor."""
    words = {word for form in FORMS for word in form.replace(",", " ,").split() if word != "{}"}
    words |= {*COLORS, *SHAPES, *PLACES, *GROUNDS}
    pieces = ["<unk>", *sorted(words), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    begin, end = len(pieces) - 2, len(pieces) - 1
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    fast.normalizer = normalizers.Lowercase()
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", begin), ("<|endoftext|>", end)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        model_max_length=24,
    )
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    texts = {
        **sizes,
        "vocab_size": len(pieces),
        "max_position_embeddings": 24,
        "bos_token_id": begin,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    images = {**sizes, "image_size": SIDE, "patch_size": SIDE // 4}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=texts, vision_config=images, projection_dim=32))
    square = {"height": SIDE, "width": SIDE}
    return model, tokenizer, CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=square)


def train_clip(folder, n_steps=1200, batch_size=64, n_pictures=8):
    """Train a CLIP so that each of some pictures is nearest to its own caption, and save it."""
    model, tokenizer, processor = build_clip()
    pictures = [draw(*thing) for thing in trained for _ in range(n_pictures)]
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    pixels = pixels.unflatten(0, (len(trained), n_pictures))
    captions = [
        tokenizer(
            [form.format(*thing) for thing in trained], padding=True, return_tensors="pt"
        ).input_ids
        for form in FORMS
    ]
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=n_steps)
    for step in range(n_steps):
        batch = torch.from_numpy(rng.permutation(len(trained))[:batch_size])
        which = torch.from_numpy(rng.integers(n_pictures, size=batch_size))
        output = model(
            input_ids=captions[rng.integers(len(FORMS))][batch],
            pixel_values=pixels[batch, which],
            return_loss=True,
        )
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == n_steps - 1:
            print(f"  step {step:>4}, loss {output.loss.item():.2f}", flush=True)
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)


clip = os.environ.get("SK_SENTEMB_CLIP")
if clip:
    print(f"The CLIP of SK_SENTEMB_CLIP, {clip}, is taken as it is.")
    name = Path(clip).name
else:
    print("A tiny CLIP is trained on drawings; it is no model of the world.")
    clip, name = Path(scratch.name, "clip"), "a tiny CLIP, trained here"
    train_clip(clip)

# %%
# Texts find images
# -----------------
#
# Two new pictures of each of the 60 things that were kept are saved as files. The embedders are fitted
# as any transformer is, and a product of their vectors, which have length one, is a cosine.

folder = Path(scratch.name, "pictures")
folder.mkdir()
shown = [thing for thing in kept for _ in range(2)]
files = [folder / f"{i}.png" for i in range(len(shown))]
for file, thing in zip(files, shown, strict=True):
    draw(*thing).save(file)

images = ImageEmbedder(clip, normalize=True).fit(files)
texts = SentenceEmbedder(clip, normalize=True).fit(["a text"])
print("They share one model:", images.encoder_.model is texts.encoder_.towers.model)

queries = [FORMS[0].format(*thing) for thing in kept]
cosines = texts.transform(queries) @ images.transform(files).T
ranking = np.argsort(-cosines, axis=1)
right = np.array(
    [[shown[i] == thing for i in row] for thing, row in zip(kept, ranking, strict=True)]
)
first, both = right[:, 0].mean(), right[:, :2].all(axis=1).mean()
print(f"The first of 120 pictures shows what the text says in {first:.0%} of 60 searches;")
print(f"the first two, both there are, in {both:.0%}. By chance it would be 2 %, and 0 %.")

# %%
# The picture
# -----------
#
# For seven of the searches, the five nearest pictures, of things that were never trained on. What comes
# after the two that are right has something of what the text says, and not all of it.

few = np.arange(0, 35, 5)
fig, axes = plt.subplots(len(few), 6, figsize=(9.5, 10.2), width_ratios=[1.7, *[1] * 5])
for (said, *row), query in zip(axes, few, strict=True):
    said.axis("off")
    words = queries[query].replace(" at the", "\nat the")
    said.text(0, 0.5, f"“{words}”", va="center", fontsize=14, transform=said.transAxes)
    for nearest, ax in zip(ranking[query], row, strict=False):
        ax.imshow(Image.open(files[nearest]))
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(f"{cosines[query, nearest]:.2f}", fontsize=11, labelpad=3)
        is_right = shown[nearest] == kept[query]
        color, width = ("#009E73", 5) if is_right else ("#bbbbbb", 1)
        for side in ax.spines.values():
            side.set(color=color, linewidth=width)
fig.text(0.04, 0.955, "Texts find images", fontsize=20)
about = "In green frames, what the text says; below, the cosines."
fig.text(0.04, 0.93, f"Vectors of {name}. {about}", fontsize=12)
fig.subplots_adjust(left=0.04, right=0.98, top=0.905, bottom=0.03, hspace=0.3, wspace=0.1)

# Run from the repository's root, or from the folder of this file.
output = Path("examples" if Path("examples").is_dir() else ".") / "output"
output.mkdir(exist_ok=True)
fig.savefig(output / "image_and_text.png", dpi=120)
print(f"\nSee {output / 'image_and_text.png'}")
plt.show()
