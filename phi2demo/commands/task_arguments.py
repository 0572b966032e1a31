"""The arguments that only one task has, and the options they become."""

import argparse

from phi2demo.tasks.declaration import Declaration
from phi2demo.tasks.form import FORMS
from phi2demo.tasks.generation import MODES, GenerationTaskOptions
from phi2demo.tasks.languages import LANGUAGES
from phi2demo.tasks.question_answering import QuestionOptions
from phi2demo.tasks.summarization import LENGTHS, SummaryOptions
from phi2demo.tasks.task import AnyTask, TaskOptions


def add_task_arguments(parser: argparse.ArgumentParser, task: AnyTask) -> None:
    """What only this task asks for."""
    match task.name:
        case "generation":
            parser.add_argument("--mode", choices=MODES, help="default: what the model was finetuned for")
        case "summarization":
            parser.add_argument("--length", choices=LENGTHS, default="sentence", help="default: sentence")
        case "translation":
            languages = ", ".join(f"{code} {name}" for code, name in LANGUAGES.items())
            parser.add_argument("--from", dest="source", choices=LANGUAGES, metavar="CODE", help=languages)
            parser.add_argument("--to", dest="target", choices=LANGUAGES, metavar="CODE", help="another of them")
        case "question_answering":
            parser.add_argument("--question", required=True, help="what is asked about the text")


def add_base_form(parser: argparse.ArgumentParser) -> None:
    """How the base is asked."""
    parser.add_argument(
        "--base-form",
        choices=FORMS,
        help="how the base is asked: plain, a text to go on with, or template, with the instruction; "
        "default: plain where its folder records that it was pretrained so",
    )


def task_options(given: argparse.Namespace, task: AnyTask, declaration: Declaration) -> TaskOptions:
    """As given, and as the adapter declares where nothing is given."""
    match task.name:
        case "generation":
            return GenerationTaskOptions(given.mode or declaration.modes[0])
        case "summarization":
            return SummaryOptions(given.length)
        case "translation":
            return declaration.directions(given.source, given.target)
        case "question_answering":
            return QuestionOptions(given.question)
    return task.options_type()
