"""What recorded runs say: settings, intervals over seeds, comparisons, tables, plots, a report.

It reads run folders and nothing else, so a report can be written where no run could be trained::

    run folders ─► runs ─► settings ─► comparisons ─► study ─► tables, sentences, plots ─► report
                                       documents
                                       factorial
                                       hypotheses
                                       scaling

Entry points: ``summary.summarise`` (what the command line calls), ``study.analyse`` (the numbers
alone), ``report.write_report``, ``markdown.write_markdown`` and
``latex.write_study_latex``.
"""
