"""How glioflow drives nnU-Net v2: folders and commands (``commands``), plans (``plans``) and the trainer (``trainers``)."""
