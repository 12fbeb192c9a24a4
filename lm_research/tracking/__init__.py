"""What a run leaves behind: its folder, its rows, its environment, and their mirror in W&B.

``recorder.Recorder`` is the one thing that a callback talks to. It writes the run folder
(``run_folder.RunFolder``: the truth) first and tells the mirrors (``wandb_mirror.WandbMirror``:
a copy that can be replayed from the folder) second. Only ``wandb_mirror`` imports wandb, and only
when a run starts. Importing this package imports none of torch, Lightning, Hydra and wandb.
"""
