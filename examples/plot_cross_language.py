"""
==================================
Search and match across languages
==================================

A multilingual model gives a text and its translation nearly the same embedding. So a question in one
language finds answers in another, and the sentences of two languages can be matched. But some texts
are similar to everything: :func:`~sk_sentemb.mine_translations` compares each pair with its neighbors.
"""

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from sk_sentemb import SemanticIndex, SentenceEmbedder, mine_translations
from sk_sentemb.exceptions import ModelNotFoundError
from sk_sentemb.metrics import margin_scores, translation_accuracy

# %%
# The model
# ---------
#
# Set the environment variable ``SK_SENTEMB_MULTILINGUAL`` to the folder of a multilingual model. Without
# it, this example uses one of the E5 family, which has to be in the cache of the Hugging Face Hub or is
# downloaded. Models of this family read ``"query: "`` before texts that are compared with texts.

model = os.environ.get("SK_SENTEMB_MULTILINGUAL", "intfloat/multilingual-e5-small")
embedder = SentenceEmbedder(model, prompt="query: ")
try:
    embedder.fit(["Where is my card?"])
except ModelNotFoundError:
    print(f"This example needs a multilingual model, and {model} is not on this machine.")
    print("Set SK_SENTEMB_MULTILINGUAL to the folder of one.")
    sys.exit(0)

# %%
# Messages in five languages
# --------------------------
#
# They are the messages of a bank's app, in pairs that differ by little.

messages = pd.DataFrame(
    [
        (
            "Your card was blocked.",
            "Ihre Karte wurde gesperrt.",
            "Votre carte a été bloquée.",
            "O seu cartão foi bloqueado.",
            "您的卡已被冻结。",
        ),
        (
            "Your card is no longer blocked.",
            "Ihre Karte ist nicht mehr gesperrt.",
            "Votre carte n'est plus bloquée.",
            "O seu cartão já não está bloqueado.",
            "您的卡已解冻。",
        ),
        (
            "Your new card is on its way.",
            "Ihre neue Karte ist unterwegs.",
            "Votre nouvelle carte est en route.",
            "O seu novo cartão está a caminho.",
            "您的新卡已在途中。",
        ),
        (
            "The PIN you entered is wrong.",
            "Die eingegebene PIN ist falsch.",
            "Le code PIN saisi est incorrect.",
            "O PIN introduzido está errado.",
            "您输入的密码错误。",
        ),
        (
            "The PIN must have four digits.",
            "Die PIN muss vier Ziffern haben.",
            "Le code PIN doit comporter quatre chiffres.",
            "O PIN tem de ter quatro dígitos.",
            "密码必须是四位数字。",
        ),
        (
            "You cannot withdraw more than 500 euros a day.",
            "Sie können nicht mehr als 500 Euro am Tag abheben.",
            "Vous ne pouvez pas retirer plus de 500 euros par jour.",
            "Não pode levantar mais de 500 euros por dia.",
            "每天取款不能超过500欧元。",
        ),
        (
            "You cannot transfer more than 500 euros a day.",
            "Sie können nicht mehr als 500 Euro am Tag überweisen.",
            "Vous ne pouvez pas virer plus de 500 euros par jour.",
            "Não pode transferir mais de 500 euros por dia.",
            "每天转账不能超过500欧元。",
        ),
        (
            "The transfer will arrive tomorrow.",
            "Die Überweisung kommt morgen an.",
            "Le virement arrivera demain.",
            "A transferência chega amanhã.",
            "转账将于明天到账。",
        ),
        (
            "The transfer was sent back.",
            "Die Überweisung wurde zurückgeschickt.",
            "Le virement a été renvoyé.",
            "A transferência foi devolvida.",
            "转账已被退回。",
        ),
        (
            "There is not enough money in your account.",
            "Auf Ihrem Konto ist nicht genug Geld.",
            "Il n'y a pas assez d'argent sur votre compte.",
            "Não há dinheiro suficiente na sua conta.",
            "您的账户余额不足。",
        ),
        (
            "Your account was closed.",
            "Ihr Konto wurde geschlossen.",
            "Votre compte a été fermé.",
            "A sua conta foi encerrada.",
            "您的账户已关闭。",
        ),
        (
            "Your account was opened.",
            "Ihr Konto wurde eröffnet.",
            "Votre compte a été ouvert.",
            "A sua conta foi aberta.",
            "您的账户已开立。",
        ),
        (
            "Enter the date of your birth.",
            "Geben Sie Ihr Geburtsdatum ein.",
            "Saisissez votre date de naissance.",
            "Introduza a sua data de nascimento.",
            "请输入您的出生日期。",
        ),
        (
            "Enter a date in the future.",
            "Geben Sie ein Datum in der Zukunft ein.",
            "Saisissez une date dans le futur.",
            "Introduza uma data no futuro.",
            "请输入将来的日期。",
        ),
    ],
    columns=["English", "German", "French", "Portuguese", "Chinese"],
)

# %%
# Ask in any language
# -------------------
#
# The index has the English messages. :class:`~sk_sentemb.SemanticIndex` picks the prompts of E5 models
# itself: ``"query: "`` for queries, ``"passage: "`` for documents.

index = SemanticIndex(SentenceEmbedder(model)).fit(messages["English"])
queries = ["Ist meine Karte gesperrt?", "Combien puis-je retirer ?", "我的新卡在哪里"]
found = index.search(queries, n=1)
for query, text in zip(queries, found["text"], strict=True):
    print(f"{query}  ->  {text}")

# %%
# Find the translations
# ---------------------
#
# How often is the most similar German, French, Portuguese or Chinese message the right one, and how
# often is that with the highest margin? A margin divides the similarity of a pair by the mean
# similarity of both to their nearest neighbors.

languages = messages.columns[1:]
embeddings = {name: embedder.transform(messages[name]) for name in messages}
for name in languages:
    u, v = embeddings["English"], embeddings[name]
    by_cosine, by_margin = (
        translation_accuracy(u, v, margin=margin) for margin in ("absolute", "ratio")
    )
    print(f"{name:<10} by cosine {by_cosine.u_to_v:.2f}, by margin {by_margin.u_to_v:.2f}")

# %%
# In a real corpus, most sentences have no translation. Here the two sides have six messages in common.
# They have the highest scores; the pairs below them are no translations.

pairs = mine_translations(
    embedder, messages["English"][:10], messages["German"][4:], strategy="mutual"
)
with pd.option_context("display.width", 160, "display.max_colwidth", 52):
    print(pairs[["left", "right", "score"]].round(3).to_string(index=False))

# %%
# Results
# -------
#
# Each point is a pair of an English message and one in another language. The line is the threshold that
# best separates the translations from the others, by F1, one for all languages. Languages differ in how
# similar their texts are to English ones, and a margin corrects for that, too.

fig, axes = plt.subplots(1, 2, figsize=(13, 5), sharey=True, layout="constrained")
# The colors of Okabe and Ito, which color-blind readers can distinguish.
colors = {"other messages": "#999999", "translations": "#D55E00"}
all_pairs = np.argwhere(np.ones((len(messages), len(messages))))
is_translation = all_pairs[:, 0] == all_pairs[:, 1]
rng = np.random.default_rng(0)
titles = {"absolute": "Cosine similarity", "ratio": "Margin: ratio to the neighbors"}
kinds = {"other messages": (~is_translation, 14), "translations": (is_translation, 50)}
for ax, (margin, title) in zip(axes, titles.items(), strict=True):
    scores = {
        name: margin_scores(embeddings["English"], embeddings[name], margin=margin, pairs=all_pairs)
        for name in languages
    }
    for row, name in enumerate(languages):
        for kind, (mask, size) in kinds.items():
            height = row + rng.uniform(-0.25, 0.25, mask.sum())
            ax.scatter(scores[name][mask], height, s=size, color=colors[kind], alpha=0.8, lw=0)
    precision, recall, thresholds = precision_recall_curve(
        np.tile(is_translation, len(languages)), np.concatenate(list(scores.values()))
    )
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    best = f1[:-1].argmax()
    ax.axvline(thresholds[best], color="black", lw=1.5)
    print(f"{title}: F1 {f1[best]:.2f} with the threshold {thresholds[best]:.3f}")
    title += f" (F1 {f1[best]:.2f})"
    ax.set_yticks(range(len(languages)), languages, fontsize=13)
    ax.set_title(title, fontsize=15)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=11)
axes[0].invert_yaxis()
handles = [
    *(axes[0].scatter([], [], s=kinds[kind][1], color=colors[kind], lw=0) for kind in kinds),
    axes[0].plot([], [], color="black", lw=1.5)[0],
]
labels = [*kinds, "best threshold for all languages"]
fig.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=12, frameon=False)
fig.suptitle("English messages and those of four other languages", fontsize=16)

root = Path("." if Path("examples").is_dir() else "..")
output = root / "examples/output"
output.mkdir(exist_ok=True)
fig.savefig(output / "cross_language.png", dpi=150)
print(f"\nSee {output / 'cross_language.png'}")
plt.show()
