# masks → volumes, their agreement and their course over a patient's sessions → shape, and what goes along with it;
# probabilities, masks and images → features → the quality of a mask without its truth, and how good that prediction is


rule measure_volumes:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        volumes="<results>/quality/{model}/{set}/volumes.csv",
    log:
        "<logs>/measure_volumes/{model}/{set}.log",
    benchmark:
        "<benchmarks>/measure_volumes/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("measure_volumes"),
        runtime=minutes("measure_volumes", set_cases),
    params:
        session_by=STUDY.quality.session_by,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        cache=lambda w: case_cache("measure_volumes", w.model, w.set),
        code=code_fingerprint("measure_volumes"),
    script:
        "../scripts/measure_volumes.py"


rule compare_volumes:
    input:
        volumes="<results>/quality/{model}/{set}/volumes.csv",
    output:
        agreement=report(
            "<results>/quality/{model}/{set}/agreement.csv",
            caption="captions/agreement.rst",
            category="Volumes and shape",
            labels={"model": "{model}", "set": "{set}", "shows": "agreement of volumes"},
        ),
    log:
        "<logs>/compare_volumes/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code_fingerprint("compare_volumes"),
    script:
        "../scripts/compare_volumes.py"


rule follow_volumes:
    input:
        volumes="<results>/quality/{model}/{set}/volumes.csv",
    output:
        sessions="<results>/quality/{model}/{set}/sessions.csv",
        responses="<results>/quality/{model}/{set}/responses.csv",
    log:
        "<logs>/follow_volumes/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        follow=STUDY.quality.follow,
        increase=STUDY.quality.response_increase,
        decrease=STUDY.quality.response_decrease,
        measurable_ml=STUDY.quality.measurable_ml,
        code=code_fingerprint("follow_volumes"),
    script:
        "../scripts/follow_volumes.py"


rule measure_shapes:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        shapes="<results>/quality/{model}/{set}/shapes.csv",
    log:
        "<logs>/measure_shapes/{model}/{set}.log",
    benchmark:
        "<benchmarks>/measure_shapes/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("measure_shapes"),
        runtime=minutes("measure_shapes", set_cases),
    params:
        region=STUDY.quality.shape,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        cache=lambda w: case_cache("measure_shapes", w.model, w.set),
        code=code_fingerprint("measure_shapes"),
    script:
        "../scripts/measure_shapes.py"


rule compare_shapes:
    input:
        shapes="<results>/quality/{model}/{set}/shapes.csv",
        manifest=set_file("manifest.csv"),
    output:
        associations="<results>/quality/{model}/{set}/shape_covariates.csv",
    log:
        "<logs>/compare_shapes/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code_fingerprint("compare_shapes"),
    script:
        "../scripts/compare_shapes.py"


rule measure_quality:
    input:
        unpack(probability_records),
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        features="<results>/quality/{model}/{set}/quality_features.csv",
    log:
        "<logs>/measure_quality/{model}/{set}.log",
    benchmark:
        "<benchmarks>/measure_quality/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("measure_quality"),
        runtime=minutes("measure_quality", set_cases),
    params:
        regions=by_model(MODELS.shown_regions),
        channels=by_model(MODELS.read_channels),
        origin=by_model(MODELS.origin),
        cache=lambda w: case_cache("measure_quality", w.model, w.set),
        code=code_fingerprint("measure_quality"),
    script:
        "../scripts/measure_quality.py"


rule predict_quality:
    input:
        unpack(calibration_tables),
        features="<results>/quality/{model}/{set}/quality_features.csv",
    output:
        quality=report(
            "<results>/quality/{model}/{set}/quality.csv",
            caption="captions/quality.rst",
            category="Quality without truth",
            labels={"model": "{model}", "set": "{set}", "shows": "predicted Dice"},
        ),
    log:
        "<logs>/predict_quality/{model}/{set}.log",
    benchmark:
        "<benchmarks>/predict_quality/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        set=lambda w: w.set,
        schemes=by_set(MODELS.compared_schemes),
        code=code_fingerprint("predict_quality"),
    script:
        "../scripts/predict_quality.py"


rule evaluate_quality:
    input:
        quality="<results>/quality/{model}/{set}/quality.csv",
        scores="<results>/scores/{model}/{set}.csv",
    output:
        evaluation="<results>/quality/{model}/{set}/quality_evaluation.csv",
    log:
        "<logs>/evaluate_quality/{model}/{set}.log",
    benchmark:
        "<benchmarks>/evaluate_quality/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        code=code_fingerprint("evaluate_quality"),
    script:
        "../scripts/evaluate_quality.py"
