"""Hold gmoe-eval --prompt lm-eval to lm-evaluation-harness, item by item: contexts, continuations, log-likelihoods, right or wrong.

    python scripts/oracle/check_lm_eval.py --gmoe-eval build/bin/gmoe-eval [--shared ../shared] [--tasks arc-e,boolq] [--shots 0,2]
                                           [--limit 100] [--bound 1e-3] [--golden tests/golden/lm-eval.tsv]

The harness's own task files are used, with the data sets' originals in place of its hub (rows are made here as the hub has
them) and its first_n sampler of the training split, since gmoe takes the first items too; acc_norm and acc_bytes are asked of
every task. The model, stories260K in f32, is longer-winded than it was made for: --max-length holds in both programs, so that
nothing is cut (cut prompts differ: gmoe keeps BOS).
--golden writes the harness's log-likelihoods of the first items, a line an item. Exit status 1 if anything differs.
"""
import argparse
import atexit
import csv
import gzip
import importlib.metadata
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

for setting in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_DATASETS_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
    os.environ[setting] = "1"
os.environ["HF_HOME"] = CACHE = tempfile.mkdtemp(prefix="lm-eval-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

import lm_eval  # noqa: E402  (after the environment)
import yaml  # noqa: E402
from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402

MAX_LENGTH = 4096
MOST_SHOTS = 100
GOLDEN_ITEMS = 4
GMOE_TASKS = pathlib.Path(__file__).resolve().parents[2] / "configs/tasks"
TASK_FILES = pathlib.Path(lm_eval.__file__).parent / "tasks"


# ---- the publishers' files as the hub's rows

def lines(path):
    path = path if path.exists() else path.with_name(path.name + ".gz")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="\n") as file:
        return [line.rstrip("\n") for line in file]


def records(path):
    return [json.loads(line) for line in lines(path) if line.strip()]


def choices_of(record):
    choices = record["question"]["choices"]
    return {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}


def arc(path):
    return [{"question": r["question"]["stem"], "choices": choices_of(r), "answerKey": r["answerKey"]} for r in records(path)]


def openbookqa(path):
    return [{"question_stem": r["question"]["stem"], "choices": choices_of(r), "answerKey": r["answerKey"]} for r in records(path)]


def boolq(path):
    return [{"question": r["question"], "passage": f"{r['title']} -- {r['passage']}", "label": int(r["answer"])} for r in records(path)]


def social_iqa(path):
    answers = lines(path.with_name(path.name.replace(".jsonl", "-labels.lst")))
    return [{**r, "label": a.strip()} for r, a in zip(records(path), answers, strict=True)]


def sst2(path):
    rows = csv.DictReader(lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [{"sentence": r["sentence"], "label": int(r["label"])} for r in rows]


# gmoe's task: (harness's task file, folder, training file, scored file and split, reader)
TASKS = {
    "arc-e": ("arc/arc_easy.yaml", "ARC-Easy", "ARC-Easy-Train.jsonl", "ARC-Easy-Test.jsonl", "test", arc),
    "arc-c": ("arc/arc_challenge.yaml", "ARC-Challenge", "ARC-Challenge-Train.jsonl", "ARC-Challenge-Test.jsonl", "test", arc),
    "boolq": ("super_glue/boolq/default.yaml", "BoolQ", "train.jsonl", "dev.jsonl", "validation", boolq),
    "obqa": ("openbookqa/openbookqa.yaml", "OpenBookQA", "train.jsonl", "test.jsonl", "test", openbookqa),
    "siqa": ("siqa/siqa.yaml", "SIQA", "train.jsonl", "dev.jsonl", "validation", social_iqa),
    "sst2": ("glue/sst2/default.yaml", "SST-2", "train.tsv", "dev.tsv", "validation", sst2),
}


# ---- the two programs

def read_task_file(path):
    config = yaml.safe_load(path.read_text())
    base = config.pop("include", None)
    return {**(read_task_file(path.parent / base) if base else {}), **config}


def harness_task(name, shared, limit):
    file, folder, training, scored, split, read = TASKS[name]
    config = read_task_file(TASK_FILES / file)
    for key in ("dataset_name", "tag", "group"):
        config.pop(key, None)
    rows = {"train": read(shared / "data/datasets" / folder / training)[:MOST_SHOTS], split: read(shared / "data/datasets" / folder / scored)}
    files = {}
    for part, items in rows.items():
        files[part] = os.path.join(CACHE, f"{name}-{part}.jsonl")
        with open(files[part], "w", encoding="utf-8") as out:
            out.writelines(json.dumps(item) + "\n" for item in (items[:limit] if limit and part != "train" else items))
    config.update(task=name, dataset_path="json", dataset_kwargs={"data_files": files}, training_split="train",
                  validation_split=None, test_split=None, fewshot_config={"sampler": "first_n", "split": "train"},
                  metric_list=[{"metric": metric} for metric in ("acc", "acc_norm", "acc_bytes")])
    config[f"{split}_split"] = split
    return ConfigurableTask(config=config)


def run_harness(model, name, shared, shots, limit):
    task = harness_task(name, shared, limit)
    task.set_config("num_fewshot", shots)
    found = lm_eval.simple_evaluate(model=model, tasks=[task], num_fewshot=shots, log_samples=True)
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return found["results"][name], samples


def run_gmoe(program, model, name, shared, shots, limit, folder):
    items, output = os.path.join(folder, "items.jsonl"), os.path.join(folder, "output.json")
    subprocess.run([program, "--base-model", model, "--task", name, "--data-dir", shared / "data/datasets", "--split", TASKS[name][4],
                    "--prompt", "lm-eval", "--shots", str(shots), "--limit", str(limit), "--max-length", str(MAX_LENGTH), "--dtype",
                    "f32", "--device", "cpu", "--items", items, "--texts", "--output", output, "--quiet"],
                   check=True, stdout=subprocess.DEVNULL, env={**os.environ, "GMOE_TASKS": str(GMOE_TASKS)})
    with open(items, encoding="utf-8") as file:
        return json.load(open(output))["tasks"][0], [json.loads(line) for line in file]


# ---- the comparison

def likelihoods(sample):
    return [float(response[0]) for response in sample["filtered_resps"]]


def texts(sample):
    arguments = sample["arguments"]
    pairs = arguments.values() if isinstance(arguments, dict) else arguments
    return [(p["arg_0"], p["arg_1"]) if isinstance(p, dict) else tuple(p) for p in pairs]


def compare(results, samples, summary, items, bound):
    """The largest difference of a log-likelihood, and what else differs, in words."""
    wrong, largest = [], 0.0
    if len(samples) != len(items):
        return float("inf"), [f"{len(samples)} items, gmoe has {len(items)}"]
    for sample, item in zip(samples, items):
        place = f"item {item['index']}"
        if texts(sample) != [(item["prompt"], choice) for choice in item["choices"]]:
            wrong.append(f"{place}: texts: {texts(sample)[0]!r}, gmoe {item['prompt']!r}, {item['choices']!r}")
        ours, theirs = item["scores"], likelihoods(sample)
        off = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        largest = max(largest, off)
        if off > bound:
            wrong.append(f"{place}: log-likelihoods {theirs}, gmoe {ours}")
        for metric, key in (("acc", "prediction"), ("acc_norm", "prediction_norm"), ("acc_bytes", "prediction_bytes")):
            if sample[metric] != (item[key] == item["answer"]):
                wrong.append(f"{place}: {metric} {sample[metric]}, gmoe predicts {item[key]} of {item['answer']}")
    for metric, key in (("acc", "accuracy"), ("acc_norm", "accuracy_norm"), ("acc_bytes", "accuracy_bytes")):
        for theirs, ours in ((f"{metric},none", key), (f"{metric}_stderr,none", key.replace("accuracy", "stderr"))):
            if not abs(results[theirs] - summary[ours]) < 1e-9:
                wrong.append(f"{theirs} {results[theirs]}, gmoe's {ours} {summary[ours]}")
    return largest, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gmoe-eval", required=True)
    parser.add_argument("--shared", type=pathlib.Path, default=pathlib.Path("../shared"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--shots", default="0,2", help=f"numbers of shots, {MOST_SHOTS} at most")
    parser.add_argument("--limit", type=int, default=100, help="items of each task; 0: all")
    parser.add_argument("--bound", type=float, default=1e-3, help="of a log-likelihood's difference")
    parser.add_argument("--golden", type=pathlib.Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    directory = args.shared / "data/models/stories260K"
    model = HFLM(pretrained=str(directory), dtype="float32", device="cpu", batch_size=1, max_length=MAX_LENGTH)
    golden = [f"# lm_eval {importlib.metadata.version('lm_eval')}: task, split, shots, item, log-likelihood of each choice"]
    failed = False
    print("task   shots items  largest difference  acc     acc_norm acc_bytes")
    for name in args.tasks.split(","):
        for shots in map(int, args.shots.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                results, samples = run_harness(model, name, args.shared, shots, args.limit)
                summary, items = run_gmoe(args.gmoe_eval, directory, name, args.shared, shots, args.limit, folder)
            largest, wrong = compare(results, samples, summary, items, args.bound)
            failed |= bool(wrong)
            print(f"{name:6} {shots:5} {len(items):5}  {largest:18.2e}  {summary['accuracy']:.4f}  {summary['accuracy_norm']:.4f}   "
                  f"{summary['accuracy_bytes']:.4f}  {'DIFFERS' if wrong else 'equal'}", flush=True)
            for line in wrong[:5]:
                print("   ", line[:1000])
            golden += ["\t".join([name, TASKS[name][4], str(shots), str(i), *(f"{x:.6f}" for x in likelihoods(sample))])
                       for i, sample in enumerate(samples[:GOLDEN_ITEMS])]
    if args.golden and not failed:
        args.golden.write_text("\n".join(golden) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
