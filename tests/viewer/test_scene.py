"""Scene: who stands where, in which shape, and what is reported; no renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from twinloom.viewer.geometry import box, coarser
from twinloom.viewer.glb import checked_glb
from twinloom.viewer.mesh_files import read_meshes
from twinloom.viewer.placement import matrix_of, pack
from twinloom.viewer.scene import BOX, FULL, MIDDLE, SceneTwin, build_glb, build_scene, check_scene, scene_glb

Z_UP = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)


def unit(id: str = "m", **properties: object) -> SceneTwin:
    return SceneTwin(id, ("CncMachine",), properties)


def test_every_twin_of_the_example_plant_has_a_part_and_nothing_is_reported(twins: list[SceneTwin]) -> None:
    scene = build_scene(twins)
    assert [part.twin for part in scene.parts] == [twin.id for twin in twins]
    assert scene.problems == ()
    assert {part.role for part in scene.parts} == {"site", "line", "unit", "component"}


def test_a_machine_with_its_parts_has_about_eleven_hundred_triangles(twins: list[SceneTwin]) -> None:
    scene = build_scene(twins)
    faces = [len(scene.merged(level).faces) for level in (FULL, MIDDLE, BOX)]
    per_machine = faces[FULL] / 47
    assert 900 <= per_machine <= 1320
    assert 0.05 <= faces[MIDDLE] / faces[FULL] <= 0.2
    assert faces[BOX] / 47 < 13


def test_a_part_stands_where_the_placements_of_its_parents_add_up(twins: list[SceneTwin]) -> None:
    scene = build_scene(twins)
    part = scene.parts[scene.row_of["hamburg/line-2/cnc-30/spindle"]]
    assert part.matrix[:3, 3] == pytest.approx([45 + 15, 8 + 0.35, 1.55])


def test_heading_turns_children_counter_clockwise_around_their_parent() -> None:
    twins = [unit("m", placement={"x": 10, "y": 0, "z": 0, "heading": 90}),
             SceneTwin("m/s", ("Spindle",), {"placement": {"x": 1, "y": 0, "z": 2}}, "m")]  # fmt: skip
    scene = build_scene(twins)
    assert scene.parts[1].matrix[:3, 3] == pytest.approx([10, 1, 2])


def test_sites_are_packed_to_the_shape_of_the_picture_and_do_not_overlap(twins: list[SceneTwin]) -> None:
    wide, narrow = (build_scene(twins, floor_aspect=aspect) for aspect in (4.0, 0.4))
    spans = [np.ptp(scene.bounds, axis=0) for scene in (wide, narrow)]
    assert spans[0][0] / spans[0][1] > 2 * spans[1][0] / spans[1][1]
    for scene in (wide, narrow):
        sites = [scene.bounds_of[row] for row, part in enumerate(scene.parts) if part.role == "site"]
        for i, a in enumerate(sites):
            for b in sites[:i]:
                assert (a[0, :2] >= b[1, :2]).any() or (b[0, :2] >= a[1, :2]).any()


@given(
    st.lists(st.tuples(st.floats(0.5, 100), st.floats(0.5, 100)), min_size=1, max_size=12),
    st.floats(0.3, 5),
)
def test_packed_rectangles_never_overlap(sizes: list[tuple[float, float]], aspect: float) -> None:
    spots = pack(sizes, aspect, 1.0)
    boxes = [(x, y, x + w, y + d) for (x, y), (w, d) in zip(spots, sizes, strict=True)]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_an_engineer_reads_names_and_not_ids(twins: list[SceneTwin]) -> None:
    scene = build_scene(twins)
    assert scene.label_of(scene.row_of["toulouse/line-2/cnc-12/spindle"]) == "CNC 12 spindle"
    assert scene.label_of(scene.row_of["toulouse/line-2/cnc-12"]) == "CNC 12"


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        ({"x": "left"}, "placement.x is not a finite number"),
        ({"x": float("nan")}, "placement.x is not a finite number"),
        ({"y": 1e9}, "placement.y is more than 1,000 km away"),
        ([1, 2], "placement is not an object"),
        ({"x": True}, "placement.x is not a finite number"),
    ],
)
def test_a_placement_that_means_nothing_is_reported_and_the_part_is_drawn(placement: object, said: str) -> None:
    scene = build_scene([unit(placement=placement)])
    assert len(scene.parts) == 1
    assert scene.problems[0].code == "placement" and said in scene.problems[0].message
    assert np.isfinite(matrix_of(placement)[0]).all()


def test_two_twins_of_one_id_a_lost_parent_and_a_circle_are_reported_and_the_rest_is_drawn() -> None:
    twins = [
        unit("a"),
        unit("a"),
        SceneTwin("b", ("Spindle",), {}, "nobody"),
        SceneTwin("c", ("Spindle",), {}, "d"),
        SceneTwin("d", ("Spindle",), {}, "c"),
        SceneTwin("e", ("Gearbox",), {}, "a"),
    ]
    scene = build_scene(twins)
    assert {part.twin for part in scene.parts} == {"a", "b", "c", "d", "e"}
    codes = [(problem.code, problem.about) for problem in scene.problems]
    assert ("duplicate", "a") in codes and ("parent", "b") in codes and ("no_geometry", "e") in codes
    assert sum(code == "parent" for code, _ in codes) == 2


def test_no_twins_are_a_scene_without_parts_and_a_loadable_glb() -> None:
    assert build_scene([]).parts == ()
    checked_glb("empty", build_glb([]))


def test_a_chain_of_ten_thousand_parents_is_no_problem() -> None:
    twins = [SceneTwin(f"t{i}", ("Spindle",), {}, f"t{i - 1}" if i else None) for i in range(10_000)]
    assert len(build_scene(reversed(twins)).parts) == 10_000


def test_the_glb_carries_twin_ids_as_names_and_extras_and_shares_geometry(twins: list[SceneTwin]) -> None:
    document, _ = checked_glb("scene", build_glb(twins))
    nodes = document["nodes"]
    assert [node["name"] for node in nodes[1:]] == [twin.id for twin in twins]
    assert all(node["extras"]["twinId"] == node["name"] for node in nodes[1:])
    spindles = {node["mesh"] for node in nodes if node["name"].endswith("/spindle")}
    assert len(spindles) == 1
    assert nodes[nodes[0]["children"][0]]["name"] == "toulouse"


def test_the_glb_is_y_up_in_metres_as_another_reader_sees_it(twins: list[SceneTwin], tmp_path: Path) -> None:
    scene = build_scene(twins)
    file = tmp_path / "scene.glb"
    file.write_bytes(scene_glb(scene))
    other = trimesh.load_scene(file)
    low, high = scene.bounds
    turned = np.array([[low[0], low[2], -high[1]], [high[0], high[2], -low[1]]])
    assert other.bounds == pytest.approx(turned, abs=1e-4)


def test_the_glb_is_the_same_bytes_every_time(twins: list[SceneTwin]) -> None:
    assert build_glb(twins) == build_glb(list(twins))


def test_a_glb_read_back_gives_every_part_its_own_place_and_materials(twins: list[SceneTwin], tmp_path: Path) -> None:
    scene = build_scene(twins)
    file = tmp_path / "scene.glb"
    file.write_bytes(scene_glb(scene))
    again = build_scene(twins, meshes=[file])
    assert again.problems == ()
    assert again.bounds_of == pytest.approx(scene.bounds_of, abs=1e-3)
    assert np.array_equal(np.bincount(again.merged(FULL).materials), np.bincount(scene.merged(FULL).materials))


def test_nodes_that_match_no_twin_and_twins_in_no_file_are_reported(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), node_name="m")
    scene.add_geometry(trimesh.creation.box(), node_name="stranger")
    file = tmp_path / "plant.glb"
    file.write_bytes(scene.export(file_type="glb"))
    problems = check_scene([unit("m"), unit("n")], meshes=[file])
    assert {(p.code, p.about) for p in problems} == {("unmatched", "stranger"), ("no_geometry", "n")}


def test_a_node_below_a_twins_node_belongs_to_that_twin(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box(), node_name="m")
    scene.add_geometry(trimesh.creation.box(), node_name="cover", parent_node_name="m")
    file = tmp_path / "m.glb"
    file.write_bytes(scene.export(file_type="glb"))
    found = read_meshes(file, known={"m"})
    assert list(found.nodes) == ["m"] and len(found.nodes["m"].faces) == 24


@pytest.mark.parametrize("kind", ["glb", "obj", "stl"])
def test_a_mesh_file_that_a_twin_names_stands_at_its_placement_upright_in_metres(kind: str, tmp_path: Path) -> None:
    mesh = trimesh.creation.box(extents=[1000, 2000, 3000])  # millimetres, y up
    (tmp_path / f"pump.{kind}").write_bytes(
        bytes(trimesh.Scene(mesh).export(file_type=kind), "ascii") if kind == "obj" else mesh.export(file_type=kind)
    )
    twin = unit("p", mesh=f"pump.{kind}", placement={"x": 5, "y": 0, "z": 0})
    scene = build_scene([twin], mesh_folder=tmp_path, up="y", unit_m=0.001)
    assert scene.problems == ()
    assert scene.bounds == pytest.approx(np.array([[4.5, -1.5, -1.0], [5.5, 1.5, 1.0]]), abs=1e-6)


def test_a_mesh_outside_the_folder_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    trimesh.creation.box().export(tmp_path / "secret.stl")
    scene = build_scene([unit("p", mesh="../secret.stl")], mesh_folder=tmp_path / "inside")
    assert "outside the mesh folder" in scene.problems[0].message
    assert scene.parts[0].geometry == "CncMachine"


def test_a_coarser_mesh_has_a_tenth_of_the_triangles_and_the_same_extent() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    from twinloom.viewer.geometry import Mesh

    mesh = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces, np.int32), np.zeros(len(ball.faces), np.uint8))
    coarse = coarser(mesh)
    assert len(coarse.faces) <= len(mesh.faces) // 10
    assert coarse.bounds == pytest.approx(mesh.bounds, abs=0.2)


def test_a_box_faces_outwards() -> None:
    mesh = box((0, 0, 0), (1, 2, 3), 0)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((corners.mean(axis=1) - mesh.vertices.mean(axis=0)) * normals).sum(axis=1).min() > 0


def test_every_procedural_solid_faces_outwards(twins: list[SceneTwin]) -> None:
    scene = build_scene(twins)
    for key in ("CncMachine", "Spindle", "Axis", "AxisColumn", "CoolantPump", "ToolChanger"):
        mesh = scene.geometries[key][FULL]
        whole = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        for solid in whole.split(only_watertight=True, repair=False):
            assert solid.volume > 0, key
