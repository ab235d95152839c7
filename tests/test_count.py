"""How many printed numbers have one of ours: by hand on few runs, and on the committed ones against the tables."""

from fake_runs import write_run
from logitnorm.study import count, paper, results


def line(table, where):
    return table.set_index("where").loc[where]


def test_nothing_is_counted_without_runs():
    table = count.counted([])
    assert line(table, "LogitNorm, all")["printed"] == 511 and line(table, "Learned Confidence, all")["printed"] == 252
    assert not table["ours"].any()


def test_a_run_counts_in_the_tables_that_print_its_numbers(tmp_path):
    write_run(tmp_path, method="cross_entropy", architecture="wrn10_2")
    write_run(tmp_path, method="cross_entropy", architecture="wrn10_2", seed=2)
    table = count.first_paper(results.load_all(tmp_path))
    printed = paper.numbers("1").query("method == 'cross_entropy' and id_dataset == 'cifar10'")
    one = line(table, "LogitNorm, Table 1")
    assert (one["ours"], one["seeds"], one["sizes"]) == (len(printed), "2", "small") and one["printed"] == 84
    assert line(table, "LogitNorm, Table 9")["ours"] == 0, "another kind of network"
    assert not count.second_paper(results.load_all(tmp_path))["ours"].any(), "Learned Confidence comes with Cutout"


def test_the_second_papers_methods_count_with_cutout_on_their_family(tmp_path):
    write_run(tmp_path, method="learned_confidence", architecture="wrn10_2", cutout=16)
    table = count.second_paper(results.load_all(tmp_path))
    own = line(table, "Learned Confidence, Table 1, CIFAR-10, WRN-28-10")
    # accuracy and five metrics on LSUN-R and iSUN; TinyImageNet is not among these runs' sets
    assert own["ours"] == 11 and table["ours"].sum() == own["ours"]
    write_run(tmp_path, method="learned_confidence", architecture="densenet_bc_22_12", cutout=16)
    assert line(count.second_paper(results.load_all(tmp_path)), "Learned Confidence, Table 1, CIFAR-10, DenseNet-BC")["ours"] == 11


def test_the_command_prints_the_sum(tmp_path, capsys):
    assert count.main(["--runs-dir", str(tmp_path)]) == 0
    assert "511" in capsys.readouterr().out
    (tmp_path / "x").mkdir()
    (tmp_path / "x/run.json").write_text("{")
    assert count.main(["--runs-dir", str(tmp_path)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_no_table_has_more_of_ours_than_it_prints():
    table = count.first_paper(results.load_all(count.paths.RUNS))
    for n in range(1, 10):
        row = line(table, f"LogitNorm, Table {n}")
        assert 0 <= row["ours"] <= row["printed"], row
