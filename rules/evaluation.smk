# predictions → scores of every case → summaries


rule score_cases:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        "<results>/scores/{model}/{set}_shards/{shard}.csv",
    log:
        "<logs>/score_cases/{model}/{set}/{shard}.log",
    benchmark:
        "<benchmarks>/score_cases/{model}/{set}/{shard}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("score_cases"),
        runtime=minutes("score_cases", shard_size),
    params:
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention=STUDY.evaluation.convention,
        lesionwise=STUDY.evaluation.lesionwise,
        reproduce_defects=STUDY.evaluation.reproduce_defects,
        conventions=parameters_hash(STUDY.evaluation.convention, STUDY.evaluation.lesionwise),
        shard=lambda w: w.shard,
        cache=lambda w: case_cache("score_cases", w.model, w.set, w.shard),
        code=code_fingerprint("score_cases"),
    script:
        "../scripts/score_cases.py"


rule summarise_scores:
    input:
        unpack(fetched_set),
        shards=score_tables,
        manifest=set_file("manifest.csv"),
        split=set_file("split.csv"),
    output:
        scores=report(
            "<results>/scores/{model}/{set}.csv",
            caption="captions/scores.rst",
            category="Scores",
            labels={"model": "{model}", "set": "{set}", "shows": "every case"},
        ),
        summary=report(
            "<results>/scores/{model}/{set}_summary.csv",
            caption="captions/summary.rst",
            category="Scores",
            labels={"model": "{model}", "set": "{set}", "shows": "summary"},
        ),
        groups="<results>/scores/{model}/{set}_groups.csv",
        warnings="<results>/scores/{model}/{set}_warnings.csv",
    log:
        "<logs>/summarise_scores/{model}/{set}.log",
    benchmark:
        "<benchmarks>/summarise_scores/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        set=lambda w: w.set,
        group_by=STUDY.evaluation.group_by,
        truth_scheme=by_set(MODELS.truth_scheme),
        prediction_scheme=by_model(MODELS.prediction_scheme),
        code=code_fingerprint("summarise_scores"),
    script:
        "../scripts/summarise_scores.py"


rule compare_conventions:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        conventions="<results>/scores/{model}/{set}_conventions.csv",
        ranks=report(
            "<results>/scores/{model}/{set}_convention_ranks.csv",
            caption="captions/convention_ranks.rst",
            category="Definition of the metrics",
            labels={"model": "{model}", "set": "{set}", "shows": "ranks"},
        ),
    log:
        "<logs>/compare_conventions/{model}/{set}.log",
    benchmark:
        "<benchmarks>/compare_conventions/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("compare_conventions"),
        runtime=minutes("compare_conventions", set_cases),
    params:
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention=STUDY.evaluation.convention,
        conventions=parameters_hash(*conventions()),
        extremes=STUDY.failure.extremes,
        cache=lambda w: case_cache("compare_conventions", w.model, w.set),
        code=code_fingerprint("compare_conventions"),
    script:
        "../scripts/compare_conventions.py"


rule compare_models:
    input:
        scores=expand("<results>/scores/{pair}.csv", pair=compared_sets(STUDY)),
    output:
        comparison=report(
            "<results>/scores/comparison.csv",
            caption="captions/comparison.rst",
            category="Models compared",
            labels={"shows": "differences"},
        ),
        ranks="<results>/scores/ranks.csv",
    log:
        "<logs>/compare_models.log",
    benchmark:
        "<benchmarks>/compare_models.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        groups=[asdict(group) for group in comparison_groups(STUDY)],
        sets=compared_sets(STUDY),
        code=code_fingerprint("compare_models"),
    script:
        "../scripts/compare_models.py"


rule compare_published:
    input:
        summaries=expand("<results>/scores/{pair}_summary.csv", pair=published_sets(STUDY)),
    output:
        report(
            "<results>/scores/published.csv",
            caption="captions/published.rst",
            category="Published values",
            labels={"shows": "differences"},
        ),
    log:
        "<logs>/compare_published.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        pairs=published_sets(STUDY),
        published=[value.model_dump(mode="json") for value in STUDY.published],
        code=code_fingerprint("compare_published"),
    script:
        "../scripts/compare_published.py"


rule export_scores:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        table="<results>/scores/{model}/{set}_export/patients_indiv_perf.csv",
        summary="<results>/scores/{model}/{set}_export/summary.json",
    log:
        "<logs>/export_scores/{model}/{set}.log",
    benchmark:
        "<benchmarks>/export_scores/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("export_scores"),
        runtime=minutes("export_scores", set_cases),
    params:
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention="open_brats2020",
        conventions=parameters_hash("open_brats2020"),
        cache=lambda w: case_cache("export_scores", w.model, w.set),
        code=code_fingerprint("export_scores"),
    script:
        "../scripts/export_scores.py"
