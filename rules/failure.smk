# scores → the worst and the best cases → features and covariates → what goes along with failing → kinds of errors → figures


rule select_extremes:
    input:
        scores="<results>/scores/{model}/{set}.csv",
    output:
        extremes=report(
            "<results>/failure/{model}/{set}/extremes.csv",
            caption="captions/extremes.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "worst and best cases"},
        ),
        apart="<results>/failure/{model}/{set}/apart.csv",
    log:
        "<logs>/select_extremes/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        rank_by=STUDY.failure.rank_by,
        region=STUDY.failure.region,
        extremes=STUDY.failure.extremes,
        penalised=STUDY.failure.penalised,
        model=lambda w: w.model,
        set=lambda w: w.set,
        code=code_fingerprint("select_extremes"),
    script:
        "../scripts/select_extremes.py"


rule extract_radiomics:
    input:
        unpack(extreme_cases),
        scores="<results>/scores/{model}/{set}.csv",
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        radiomics="<results>/failure/{model}/{set}/radiomics_shards/{shard}.csv",
    log:
        "<logs>/extract_radiomics/{model}/{set}/{shard}.log",
    benchmark:
        "<benchmarks>/extract_radiomics/{model}/{set}/{shard}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=features_memory,
        runtime=120,
    params:
        images=STUDY.failure.images,
        mask=STUDY.failure.mask,
        regions=STUDY.failure.featured_regions,
        ranked=STUDY.failure.region,
        parameters=RADIOMICS,
        shard=lambda w: w.shard,
        cache=lambda w: case_cache("extract_radiomics", w.model, w.set, w.shard),
        code=code_fingerprint("extract_radiomics"),
    script:
        "../scripts/extract_radiomics.py"


rule vary_features:
    input:
        unpack(extreme_cases),
        scores="<results>/scores/{model}/{set}.csv",
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        features="<results>/failure/{model}/{set}/{kind}_shards/{shard}.csv",
    log:
        "<logs>/vary_features/{model}/{set}/{kind}/{shard}.log",
    benchmark:
        "<benchmarks>/vary_features/{model}/{set}/{kind}/{shard}.tsv"
    wildcard_constraints:
        kind="stability|binning",
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=features_memory,
        runtime=360,
    params:
        kind=lambda w: w.kind,
        images=STUDY.failure.images,
        mask=STUDY.failure.mask,
        regions=STUDY.failure.featured_regions,
        ranked=STUDY.failure.region,
        parameters=RADIOMICS,
        shard=lambda w: w.shard,
        cache=lambda w: case_cache("vary_features", w.model, w.set, w.kind, w.shard),
        code=code_fingerprint("vary_features"),
    script:
        "../scripts/vary_features.py"


rule measure_stability:
    input:
        unpack(fetched_set),
        unpack(extreme_cases),
        shards=varied_tables("stability"),
        scores="<results>/scores/{model}/{set}.csv",
        manifest=set_file("manifest.csv"),
    output:
        stability="<results>/failure/{model}/{set}/stability.csv",
    log:
        "<logs>/measure_stability/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        images=STUDY.failure.images,
        regions=STUDY.failure.featured_regions,
        ranked=STUDY.failure.region,
        code=code_fingerprint("measure_stability"),
    script:
        "../scripts/measure_stability.py"


rule measure_binning:
    input:
        unpack(fetched_set),
        unpack(extreme_cases),
        shards=varied_tables("binning"),
        scores="<results>/scores/{model}/{set}.csv",
        manifest=set_file("manifest.csv"),
    output:
        binning="<results>/failure/{model}/{set}/binning.csv",
    log:
        "<logs>/measure_binning/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        images=STUDY.failure.images,
        regions=STUDY.failure.featured_regions,
        ranked=STUDY.failure.region,
        parameters=RADIOMICS,
        code=code_fingerprint("measure_binning"),
    script:
        "../scripts/measure_binning.py"


rule export_features:
    input:
        radiomics="<results>/failure/{model}/{set}/radiomics.csv",
    output:
        table="<results>/failure/{model}/{set}/slicer_radiomics.csv",
    log:
        "<logs>/export_features/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        made_in=lambda w: under(f"failure/{w.model}/{w.set}/slicer_radiomics"),
        code=code_fingerprint("export_features"),
    script:
        "../scripts/export_features.py"


rule associate_features:
    input:
        unpack(fetched_set),
        scores="<results>/scores/{model}/{set}.csv",
        extremes="<results>/failure/{model}/{set}/extremes.csv",
        shards=radiomics_tables,
    output:
        radiomics="<results>/failure/{model}/{set}/radiomics.csv",
        associations=report(
            "<results>/failure/{model}/{set}/associations.csv",
            caption="captions/associations.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "features, table"},
        ),
    log:
        "<logs>/associate_features/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rank_by=STUDY.failure.rank_by,
        region=STUDY.failure.region,
        penalised=STUDY.failure.penalised,
        cases=STUDY.failure.cases,
        groups=groups_hash(),
        code=code_fingerprint("associate_features"),
    script:
        "../scripts/associate_features.py"


rule compare_covariates:
    input:
        scores="<results>/scores/{model}/{set}.csv",
        extremes="<results>/failure/{model}/{set}/extremes.csv",
        manifest=set_file("manifest.csv"),
    output:
        covariates=report(
            "<results>/failure/{model}/{set}/covariates.csv",
            caption="captions/covariates.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "covariates"},
        ),
    log:
        "<logs>/compare_covariates/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        rank_by=STUDY.failure.rank_by,
        region=STUDY.failure.region,
        penalised=STUDY.failure.penalised,
        code=code_fingerprint("compare_covariates"),
    script:
        "../scripts/compare_covariates.py"


rule classify_failures:
    input:
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        failure_types=report(
            "<results>/failure/{model}/{set}/failure_types.csv",
            caption="captions/failure_types.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "kinds of errors"},
        ),
        confusion=report(
            "<results>/failure/{model}/{set}/confusion.csv",
            caption="captions/confusion.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "error matrix"},
        ),
    log:
        "<logs>/classify_failures/{model}/{set}.log",
    benchmark:
        "<benchmarks>/classify_failures/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 8
    resources:
        mem_mb=memory("classify_failures"),
        runtime=minutes("classify_failures", set_cases),
    params:
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention=STUDY.evaluation.convention,
        conventions=parameters_hash(STUDY.evaluation.convention),
        cache=lambda w: case_cache("classify_failures", w.model, w.set),
        code=code_fingerprint("classify_failures"),
    script:
        "../scripts/classify_failures.py"


rule draw_associations:
    input:
        unpack(measured_stability),
        associations="<results>/failure/{model}/{set}/associations.csv",
    output:
        figure=report(
            "<results>/failure/{model}/{set}/associations.png",
            caption="captions/associations_figure.rst",
            category="Failures",
            labels={"model": "{model}", "set": "{set}", "shows": "features, figure"},
        ),
    log:
        "<logs>/draw_associations/{model}/{set}.log",
    localrule: True
    conda:
        "../envs/glioflow.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        rank_by=STUDY.failure.rank_by,
        region=STUDY.failure.region,
        mask=STUDY.failure.mask,
        groups=groups_hash(),
        code=code_fingerprint("draw_associations"),
    script:
        "../scripts/draw_associations.py"


rule draw_extremes:
    input:
        extremes="<results>/failure/{model}/{set}/extremes.csv",
        scores="<results>/scores/{model}/{set}.csv",
        manifest=set_file("manifest.csv"),
        predictions=final_predictions,
    output:
        table="<results>/failure/{model}/{set}/overlays.csv",
        witnesses="<results>/failure/{model}/{set}/witnesses.csv",
    log:
        "<logs>/draw_extremes/{model}/{set}.log",
    benchmark:
        "<benchmarks>/draw_extremes/{model}/{set}.tsv"
    conda:
        "../envs/glioflow.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        image=STUDY.failure.images[0],
        region=STUDY.failure.region,
        rank_by=STUDY.failure.rank_by,
        regions=STUDY.evaluation.regions,
        trained_regions=by_model(MODELS.predicted_regions),
        truth_regions=by_set(MODELS.labelled_regions),
        convention=STUDY.evaluation.convention,
        conventions=parameters_hash(STUDY.evaluation.convention),
        code=code_fingerprint("draw_extremes"),
    script:
        "../scripts/draw_extremes.py"
