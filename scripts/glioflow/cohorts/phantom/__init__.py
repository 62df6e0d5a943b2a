"""Made-up brain MRI with a glioma, and with difficulty planted in chosen cases.

``plan.plan_phantoms`` draws a cohort from a seed: what every case is like and which cases are made hard, in which way and how
strongly. ``rendering.render_phantom`` turns one planned case into the four channels and the label map. The plan is the truth
that a failure analysis of the cohort should find again.
"""
