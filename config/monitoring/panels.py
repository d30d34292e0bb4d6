"""The dashboards of Grafana, of which `generate` makes JSON."""

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="$datasource")

LAST = common_builders.ReduceDataOptions().calcs(["lastNotNull"])

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"


def texts():
    """The JSON of each dashboard, by its name."""
    return {
        name: JSONEncoder(sort_keys=True, indent=1).encode(one.build()) + "\n"
        for name, one in [("fleet", fleet()), ("pod", pod()), ("webhook", webhook())]
    }


def fleet():
    of = '{job=~"$job"}'
    remaining = f"ram_sidecar_credentials_expiration_timestamp_seconds{of} - time()"
    return layout(
        base("ram-sidecar-fleet", "ram-sidecar: fleet", "Which sidecars are about to lose their credentials, and why")
        .with_variable(label("job", "Job", "ram_sidecar_consecutive_failures", "job", is_multiple=True)),
        [
            number("Sidecars", f"count(ram_sidecar_consecutive_failures{of})"),
            number("Failing", f"count(ram_sidecar_consecutive_failures{of} > 0) or vector(0)", {0: GREEN, 1: ORANGE}),
            number(
                "Without valid credentials",
                f'count(ram_sidecar_phase{{job=~"$job",phase=~"pending|expired"}} == 1) or vector(0)',
                {0: GREEN, 1: RED},
            ),
            number("Soonest expiry", f"min({remaining})", {0: RED, 600: ORANGE, 1200: GREEN}, "s"),
            number(
                "Throttled, of all calls in 15 minutes",
                f"max(job:ram_sidecar_renewals_throttled:ratio15m{of}) or vector(0)",
                {0: GREEN, 0.05: YELLOW, 0.2: RED},
                "percentunit",
            ),
            number("Alerts", 'count(ALERTS{alertname=~"RamSidecar.*",alertstate="firing"}) or vector(0)', {0: GREEN, 1: RED}),
        ],
        [
            graph("Phases", [(f"sum by (phase) (job_phase:ram_sidecar_sidecars:count{of})", "{{phase}}")], stacked=True),
            rows(
                "Soonest expiries",
                f"bottomk(20, {remaining})",
                "s",
                "The twenty sidecars whose credentials end first, with the seconds that are left.",
            ),
        ],
        [
            graph(
                "Renewals",
                [(f'sum by (result) (rate(ram_sidecar_renewals_total{of}[$__rate_interval]))', "{{result}}")],
                "reqps",
            ),
            graph(
                "Failures by code",
                [
                    (
                        f'sum by (code) (job_result_code:ram_sidecar_renewals:delta15m{{job=~"$job",result="failure"}}) > 0',
                        "{{code}}",
                    )
                ],
                description="In the last 15 minutes. The reference of errors says what to do about each code.",
            ),
        ],
        [
            graph(
                "Latency of STS",
                [
                    (
                        f"histogram_quantile({quantile}, sum by (endpoint, le)"
                        f" (job_endpoint_outcome_le:ram_sidecar_sts_request_duration_seconds_bucket:rate5m{of})) >= 0",
                        f"{{{{endpoint}}}}, {percent}",
                    )
                    for quantile, percent in [("0.5", "50 %"), ("0.99", "99 %")]
                ],
                "s",
            ),
            graph(
                "Calls to STS by outcome",
                [
                    (
                        "sum by (endpoint, outcome)"
                        f" (rate(ram_sidecar_sts_request_duration_seconds_count{of}[$__rate_interval]))",
                        "{{endpoint}}, {{outcome}}",
                    )
                ],
                "reqps",
            ),
        ],
        [
            rows(
                "Failing now",
                f"instance_code:ram_sidecar_renewals_failing:total{of}",
                "short",
                "Sidecars whose last attempt failed, the code, and how often it has occurred since their start.",
            ),
            graph(
                "Share that renews within one minute",
                [(f"job:ram_sidecar_renewals_together:ratio1m{of}", "{{job}}")],
                "percentunit",
                "A fleet whose renewals are spread has a low line. Peaks that return are a lockstep.",
            ),
        ],
        [
            bars(
                "Versions",
                f"count by (version, revision) (ram_sidecar_build_info{of}"
                " and ignoring (version, revision) ram_sidecar_consecutive_failures)",
                "{{version}} ({{revision}})",
            ),
            graph(
                "Files that could not be written",
                [(f"sum by (format) (rate(ram_sidecar_file_write_errors_total{of}[$__rate_interval]))", "{{format}}")],
                "ops",
            ),
            graph(
                "Clock skew",
                [(f"topk(5, abs(ram_sidecar_clock_skew_seconds{of}))", "{{instance}}")],
                "s",
                "The five largest. Beyond 30 s there is an alert.",
            ),
        ],
    )


def pod():
    of = '{instance="$instance"}'

    def until(name):
        return f"ram_sidecar_{name}_timestamp_seconds{of} - time()"

    return layout(
        base("ram-sidecar-pod", "ram-sidecar: pod", "One sidecar: what it has, what it does, what it is asked")
        .with_variable(label("job", "Job", "ram_sidecar_consecutive_failures", "job"))
        .with_variable(label("instance", "Sidecar", 'ram_sidecar_consecutive_failures{job="$job"}', "instance")),
        [
            number("Credentials end in", until("credentials_expiration"), {0: RED, 600: ORANGE, 1200: GREEN}, "s"),
            number("Next attempt in", until("next_attempt"), unit="s"),
            number("Failures in a row", f"ram_sidecar_consecutive_failures{of}", {0: GREEN, 1: ORANGE, 10: RED}),
            number("Clock skew", f"ram_sidecar_clock_skew_seconds{of}", unit="s"),
            number("Up since", f"time() - process_start_time_seconds{of}", unit="s"),
            bars("Version", f"ram_sidecar_build_info{of}", "{{version}} ({{revision}})"),
        ],
        [
            timeline("Phase", f"ram_sidecar_phase{of} == 1", "{{phase}}"),
            graph("What is left of the credentials", [(until("credentials_expiration"), "seconds")], "s"),
        ],
        [
            graph(
                "Attempts",
                [(f"sum by (code) (increase(ram_sidecar_renewals_total{of}[$__rate_interval]))", "{{code}}")],
                description="`none` is an attempt that succeeded.",
            ),
            graph(
                "Calls to STS",
                [
                    (
                        "  sum by (endpoint, outcome)"
                        f" (rate(ram_sidecar_sts_request_duration_seconds_sum{of}[$__rate_interval]))\n"
                        "/ (sum by (endpoint, outcome)"
                        f" (rate(ram_sidecar_sts_request_duration_seconds_count{of}[$__rate_interval])) > 0)",
                        "{{endpoint}}, {{outcome}}",
                    )
                ],
                "s",
                "Their mean duration.",
            ),
        ],
        [
            graph(
                "Requests",
                [
                    (
                        f"sum by (dialect, status) (rate(ram_sidecar_requests_total{of}[$__rate_interval]))",
                        "{{dialect}}, {{status}}",
                    )
                ],
                "reqps",
            ),
            graph(
                "Duration of requests",
                [
                    (
                        "histogram_quantile(0.99, sum by (dialect, le)"
                        f" (rate(ram_sidecar_request_duration_seconds_bucket{of}[$__rate_interval]))) >= 0",
                        "{{dialect}}, 99 %",
                    )
                ],
                "s",
            ),
            graph(
                "Refused requests",
                [(f"sum by (code) (rate(ram_sidecar_refused_requests_total{of}[$__rate_interval]))", "{{code}}")],
                "reqps",
            ),
        ],
        [
            graph(
                "Connections",
                [
                    (f"ram_sidecar_open_connections{of}", "open"),
                    (f"ram_sidecar_held_requests{of}", "requests held until there are credentials"),
                ],
            ),
            graph(
                "Age of files",
                [(f"time() - ram_sidecar_file_last_write_timestamp_seconds{of}", "{{format}}")],
                "s",
            ),
            graph(
                "Lines of the log that were dropped",
                [(f"increase(ram_sidecar_log_lines_dropped_total{of}[$__rate_interval])", "lines")],
            ),
        ],
        process(of),
    )


def webhook():
    of = '{job=~"$job"}'
    end = f"ram_sidecar_webhook_certificate_expiration_timestamp_seconds{of}"
    return layout(
        base("ram-sidecar-webhook", "ram-sidecar: webhook", "Whether pods get the sidecar as they are created")
        .with_variable(
            label("job", "Job", "ram_sidecar_webhook_certificate_expiration_timestamp_seconds", "job", is_multiple=True)
        ),
        [
            number("Replicas", f"count({end})", {0: RED, 1: ORANGE, 2: GREEN}),
            number("Certificate ends in", f"min({end}) - time()", {0: RED, 14 * 86400: GREEN}, "s"),
            number("Reviews", f"sum(increase(ram_sidecar_webhook_reviews_total{of}[$__range]))"),
            bars("Versions", f"count by (version, revision) (ram_sidecar_build_info{of})", "{{version}} ({{revision}})"),
        ],
        [
            graph(
                "Reviews",
                [
                    (
                        f"sum by (outcome, reason) (rate(ram_sidecar_webhook_reviews_total{of}[$__rate_interval]))",
                        "{{outcome}}, {{reason}}",
                    )
                ],
                "reqps",
            ),
            graph(
                "Duration of reviews",
                [
                    (
                        f"histogram_quantile({quantile}, sum by (le)"
                        f" (rate(ram_sidecar_webhook_review_duration_seconds_bucket{of}[$__rate_interval]))) >= 0",
                        percent,
                    )
                    for quantile, percent in [("0.5", "50 %"), ("0.99", "99 %")]
                ],
                "s",
            ),
        ],
        [
            graph(
                "Look-ups of service accounts",
                [
                    (
                        f"sum by (result) (rate(ram_sidecar_webhook_account_lookups_total{of}[$__rate_interval]))",
                        "{{result}}",
                    )
                ],
                "reqps",
            ),
            graph("Certificates", [(f"{end} - time()", "{{instance}}")], "s", "What is left of each replica's certificate."),
        ],
        process(of),
    )


def process(of):
    return [
        graph("Memory", [(f"process_resident_memory_bytes{of}", "{{instance}}")], "bytes"),
        graph("CPU", [(f"rate(process_cpu_seconds_total{of}[$__rate_interval])", "{{instance}}")], "percentunit"),
        graph("Open files", [(f"process_open_fds{of}", "{{instance}}")]),
    ]


def base(uid, title, description):
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["ram-sidecar"])
        .editable()
        .refresh("1m")
        .time("now-3h", "now")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("ram-sidecar")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["ram-sidecar"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )


def label(name, title, series, label_name, is_multiple=False):
    variable = (
        dashboard.QueryVariable(name)
        .label(title)
        .datasource(SOURCE)
        .query(f"label_values({series}, {label_name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    if is_multiple:
        variable.multi(True).include_all(True).all_value(".+")
    return variable


def layout(board, *lines):
    """Places the panels of each line beside each other, over the whole width."""
    top = 0
    for line in lines:
        height = 4 if isinstance(line[0], stat.Panel) else 8
        for index, panel in enumerate(line):
            left, right = (24 * edge // len(line) for edge in (index, index + 1))
            board.with_panel(panel.grid_pos(models.GridPos(h=height, w=right - left, x=left, y=top)))
        top += height
    return board


def query(expression, legend="", ref="A"):
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(ref)


def number(title, expression, colours=None, unit="short"):
    panel = (
        stat.Panel()
        .title(title)
        .datasource(SOURCE)
        .unit(unit)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(LAST)
        .with_target(query(expression).instant())
    )
    return panel.thresholds(steps(colours)) if colours else panel


def steps(colours):
    first, *others = colours.items()
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=None, color=first[1]), *(models.Threshold(value=at, color=to) for at, to in others)])
    )


def graph(title, queries, unit="short", description=None, stacked=False):
    panel = timeseries.Panel().title(title).datasource(SOURCE).unit(unit).min(0)
    if description:
        panel.description(description)
    if stacked:
        panel.fill_opacity(30).stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    for ref, (expression, legend) in zip("ABC", queries):
        panel.with_target(query(expression, legend, ref).range())
    return panel


def rows(title, expression, unit, description):
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .with_target(query(expression).instant().format(PromQueryFormat.TABLE))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True, "__name__": True, "endpoint": True, "result": True}}
            )
        )
        .sort_by([common_builders.TableSortByFieldState().display_name("Value")])
    )


def bars(title, expression, legend):
    return (
        bargauge.Panel()
        .title(title)
        .datasource(SOURCE)
        .orientation(common.VizOrientation.HORIZONTAL)
        .reduce_options(LAST)
        .min(0)
        .with_target(query(expression, legend).instant())
    )


def timeline(title, expression, legend):
    return statetimeline.Panel().title(title).datasource(SOURCE).with_target(query(expression, legend).range())
