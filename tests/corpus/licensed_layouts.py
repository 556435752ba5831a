"""MSP-Podcast and IEMOCAP, each as a tiny corpus in its native layout."""

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"


def msp(root, rows, consensus="labels_consensus.csv"):
    (root / "Labels").mkdir(exist_ok=True)
    (root / "Labels" / consensus).write_text(HEADER + rows)


EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes0{n}F_impro01_F000\tneu\t[2.5000, 2.0000, 3.5000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t()
C-F1:\tFrustration;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes0{n}F_impro01_M000\texc\t[4.0000, 4.0000, 2.5000]
C-E2:\tExcited;\t()
[12.0100 - 13.3925]\tSes0{n}F_impro01_F001\txxx\t[2.0000, 2.0000, 2.5000]
[14.0100 - 15.3925]\tSes0{n}F_impro01_F002\tang\t[2.0000, 2.0000, 2.5000]
[16.0100 - 17.3925]\tSes0{n}F_impro01_M001\tsad\t[2.0000, 2.0000, 2.5000]
[18.0100 - 19.3925]\tSes0{n}F_impro01_M002\tfru\t[2.0000, 2.0000, 2.5000]
"""
TURNS = ("F000", "M000", "F001", "F002", "M001", "M002")


def iemocap_at(root, say, sessions=5):
    for n in range(1, sessions + 1):
        dialog = root / f"Session{n}" / "dialog"
        for folder in ("EmoEvaluation/Categorical", "transcriptions"):
            (dialog / folder).mkdir(parents=True)
        (dialog / "EmoEvaluation" / f"Ses0{n}F_impro01.txt").write_text(EVALUATION.format(n=n))
        (dialog / "EmoEvaluation" / "Categorical" / f"Ses0{n}F_impro01_e2_cat.txt").write_text("not to be read")
        (dialog / "transcriptions" / f"Ses0{n}F_impro01.txt").write_text(
            f"Ses0{n}F_impro01_F000 [006.2901-008.2357]: Excuse me.\nM: [laughs]\n"
        )
        for turn in TURNS:
            name = f"Ses0{n}F_impro01"
            say(root / f"Session{n}" / "sentences" / "wav" / name / f"{name}_{turn}.wav")
