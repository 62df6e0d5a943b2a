# predictions → scores of every case → summaries


rule score_cases:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        "<results>/scores/{model}/{set}_shards/{shard}.csv",
    log:
        "<logs>/score_cases/{model}_{set}_{shard}.log",
    benchmark:
        "<benchmarks>/score_cases/{model}_{set}_{shard}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        regions=STUDY.evaluation.regions,
        trained_regions=predicted_regions,
        lesionwise=lambda w: lesionwise_rules()[STUDY.evaluation.lesionwise] if STUDY.evaluation.lesionwise else None,
        shard=lambda w: int(w.shard),
        shards=score_shards,
        ledger=lambda w: ledger("score_cases", w.model, w.set, w.shard),
        code=code_fingerprint("score_cases"),
    script:
        "../scripts/score_cases.py"


rule summarise_scores:
    input:
        shards=score_tables,
        manifest=set_file("manifest.csv"),
    output:
        scores="<results>/scores/{model}/{set}.csv",
        summary="<results>/scores/{model}/{set}_summary.csv",
        groups="<results>/scores/{model}/{set}_groups.csv",
    log:
        "<logs>/summarise_scores/{model}_{set}.log",
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        group_by=STUDY.evaluation.group_by,
        code=code_fingerprint("summarise_scores"),
    script:
        "../scripts/summarise_scores.py"
