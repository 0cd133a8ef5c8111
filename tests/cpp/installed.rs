//! `make install`: what is there afterwards is found by CMake, pkg-config and the library itself, wherever it lies.

use std::collections::BTreeSet;

use super::*;

/// In C: prints where ONNX Runtime was found, then scores.
const C: &str = r#"
#include <glebe.h>
#include <stdio.h>

int main(int count, char **arguments) {
    glebe_error *error = NULL;
    glebe_runtime *runtime = NULL;
    glebe_model *model = NULL;
    glebe_status status = count == 4 ? glebe_runtime_load(NULL, &runtime, &error) : 99;
    if (status == GLEBE_STATUS_OK) {
        printf("%s\n%s\n", glebe_runtime_origin(runtime), glebe_runtime_library(runtime));
        status = glebe_model_open(runtime, arguments[1], NULL, &model, &error);
    }
    if (status == GLEBE_STATUS_OK) {
        status = glebe_segment_file(model, arguments[2], arguments[3], NULL, NULL, &error);
    }
    if (status != GLEBE_STATUS_OK) {
        fprintf(stderr, "%s\n", glebe_error_message(error));
    }
    glebe_error_free(error);
    glebe_model_free(model);
    glebe_runtime_free(runtime);
    return status;
}
"#;

/// The same in C++.
const CPP: &str = r#"
#include <glebe.hpp>
#include <cstdio>

int main(int count, char **arguments) {
    if (count != 4) {
        return 99;
    }
    try {
        const glebe::Runtime runtime;
        std::printf("%s\n%s\n", runtime.origin().c_str(), runtime.library().c_str());
        glebe::Model(runtime, arguments[1]).segment_file(arguments[2], arguments[3]);
    } catch (const glebe::Error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return error.status();
    }
}
"#;

/// Ten lines, as a user has them.
const PROJECT: &str = "cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C CXX)
find_package(glebe 0.1 CONFIG REQUIRED)

add_executable(in_c main.c)
target_link_libraries(in_c PRIVATE glebe::glebe)

add_executable(in_cpp main.cpp)
target_link_libraries(in_cpp PRIVATE glebe::glebe)
";

/// A project that has no C++.
const PROJECT_C: &str = "cmake_minimum_required(VERSION 3.16)
project(consumer LANGUAGES C)
find_package(glebe CONFIG REQUIRED)
add_executable(in_c main.c)
target_link_libraries(in_c PRIVATE glebe::glebe)
";

struct Installed {
    folder: TempDir,
    /// Where the files went.
    root: PathBuf,
}

fn script(name: &str) -> Command {
    command(root().join("bindings/cpp").join(name))
}

fn install(built: &Path, to: &Path) -> Output {
    let mut command = script("install");
    command.arg(to).arg("/opt/glebe").arg(built).args([abi().as_str(), env!("CARGO_PKG_VERSION")]);
    command.output().unwrap()
}

/// Installed for one place, through a DESTDIR, and then moved to another one.
fn installed() -> Installed {
    let folder = TempDir::new().unwrap();
    let built = folder.path().join("built");
    std::fs::create_dir(&built).unwrap();
    lay_out(&built);
    let staged = folder.path().join("dest dir/opt/glebe");
    let output = install(&built, &staged);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_dir_all(&built).unwrap();
    let root = folder.path().join("moved");
    std::fs::rename(&staged, &root).unwrap();
    std::fs::remove_dir_all(folder.path().join("dest dir")).unwrap();
    write_fixtures(folder.path());
    Installed { folder, root }
}

impl Installed {
    fn source(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Configures and builds; gives the folder of the programs.
    fn cmake(&self, source: &Path, name: &str, arguments: &[String]) -> PathBuf {
        let build = self.folder.path().join(name);
        let mut configure = command("cmake");
        configure.arg("-S").arg(source).arg("-B").arg(&build).args(arguments);
        done(configure.arg(format!("-DCMAKE_PREFIX_PATH={}", self.root.display())));
        done(command("cmake").arg("--build").arg(&build).args(["--parallel", "2"]));
        build
    }

    /// Runs a consumer; it must have found the ONNX Runtime of the installation.
    fn check(&self, program: &Path) {
        let (model, input) =
            (self.folder.path().join("identity.onnx"), self.folder.path().join("raster.tif"));
        let map = self.folder.path().join("map.tif");
        let output = done(command(program).args([&model, &input, &map]));
        let shown = text(output.stdout);
        let (origin, library) = shown.trim_end().split_once('\n').unwrap();
        assert_eq!(origin, "beside glebe");
        let library = Path::new(library).canonicalize().unwrap();
        assert_eq!(library.parent().unwrap(), self.root.join("lib/glebe").canonicalize().unwrap());
        check_classes(&map);
        std::fs::remove_file(&map).unwrap();
    }
}

/// All paths below a folder.
fn tree(folder: &Path) -> BTreeSet<String> {
    fn walk(folder: &Path, top: &Path, found: &mut BTreeSet<String>) {
        for entry in folder.read_dir().unwrap() {
            let entry = entry.unwrap();
            found.insert(entry.path().strip_prefix(top).unwrap().to_str().unwrap().to_owned());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), top, found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, folder, &mut found);
    found
}

#[test]
fn cmake_finds_what_was_installed() {
    if !have("cmake") {
        return;
    }
    let installed = installed();
    installed.source("consumer/main.c", C);
    installed.source("consumer/main.cpp", CPP);
    let project = installed.source("consumer/CMakeLists.txt", PROJECT);
    let build = installed.cmake(project.parent().unwrap(), "build", &[]);
    installed.check(&build.join("in_c"));
    installed.check(&build.join("in_cpp"));

    installed.source("consumer/CMakeLists.txt", PROJECT_C);
    let build = installed.cmake(project.parent().unwrap(), "build-c", &[]);
    installed.check(&build.join("in_c"));

    // A version that is not there.
    installed.source("consumer/CMakeLists.txt", &PROJECT_C.replace("glebe CONFIG", "glebe 9.0 CONFIG"));
    let mut configure = command("cmake");
    configure.arg("-S").arg(project.parent().unwrap()).arg("-B").arg(installed.folder.path().join("build-9"));
    let output = configure.arg(format!("-DCMAKE_PREFIX_PATH={}", installed.root.display())).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn the_bindings_own_project_builds_against_what_was_installed() {
    if !have("cmake") {
        return;
    }
    let installed = installed();
    let fixtures = format!("-DGLEBE_FIXTURES={}", installed.folder.path().display());
    let build = installed.cmake(&root().join("bindings/cpp"), "build", &[fixtures]);
    done(command("ctest").arg("--test-dir").arg(&build).arg("--output-on-failure").arg("--no-tests=error"));
    assert!(build.join("segment").is_file());
    let listed = std::fs::read_to_string(root().join("bindings/cpp/CMakeLists.txt")).unwrap();
    for source in sources(&root().join("bindings/cpp/tests")) {
        let name = format!("tests/{}", source.file_name().unwrap().to_str().unwrap());
        assert!(listed.contains(&name), "{name} is not in CMakeLists.txt");
    }
}

#[test]
fn pkg_config_finds_what_was_installed() {
    if !have("pkg-config") {
        return;
    }
    let installed = installed();
    let ask = |arguments: &[&str]| {
        let mut command = command("pkg-config");
        command.args(arguments).arg("glebe").env("PKG_CONFIG_PATH", installed.root.join("lib/pkgconfig"));
        text(done(&mut command).stdout).trim().to_owned()
    };
    assert_eq!(ask(&["--modversion"]), env!("CARGO_PKG_VERSION"));
    let flags = ask(&["--cflags", "--libs"]);
    let rpath = format!("-Wl,-rpath,{}", installed.root.join("lib").display());
    for (compiler, name, code) in [("cc", "main.c", C), ("c++", "main.cpp", CPP)] {
        let (source, program) = (installed.source(name, code), installed.folder.path().join("program"));
        let mut compile = command(compiler);
        compile.arg(&source).args(flags.split_whitespace()).arg(&rpath);
        done(compile.arg("-o").arg(&program));
        installed.check(&program);
    }
}

#[test]
fn the_installed_program_finds_its_runtime() {
    let installed = installed();
    let program = installed.root.join("bin/glebe");
    assert!(text(done(command(&program).arg("--version")).stdout).contains(env!("CARGO_PKG_VERSION")));
    let at = |name: &str| installed.folder.path().join(name);
    let mut segment = command(&program);
    done(segment.arg("segment").args([at("identity.onnx"), at("raster.tif")]).arg("-o").arg(at("map.tif")));
    check_classes(&at("map.tif"));
}

#[test]
fn uninstall_takes_what_install_brought_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let (built, prefix) = (folder.path().join("built"), folder.path().join("prefix"));
    std::fs::create_dir(&built).unwrap();
    lay_out(&built);
    // What others have there: a library, and an empty folder.
    std::fs::create_dir_all(prefix.join("lib/cmake")).unwrap();
    std::fs::create_dir(prefix.join("bin")).unwrap();
    std::fs::write(prefix.join("lib/libother.so"), "").unwrap();
    let before = tree(&prefix);

    assert!(install(&built, &prefix).status.success());
    let once = tree(&prefix);
    let version = env!("CARGO_PKG_VERSION");
    for name in [
        "bin/glebe".to_owned(),
        format!("lib/libglebe.so.{}.{version}", abi()),
        "include/glebe.hpp".into(),
        "lib/glebe/LICENSE".into(),
        "lib/glebe/ThirdPartyNotices.txt".into(),
        "share/licenses/glebe/LICENSE-MIT".into(),
    ] {
        assert!(once.contains(&name), "{name}: {once:?}");
    }
    assert!(once.iter().all(|path| !path.contains(".glebe-install")), "{once:?}");
    assert_eq!(
        prefix.join("lib/libglebe.so").canonicalize().unwrap().file_name().unwrap().to_str().unwrap(),
        format!("libglebe.so.{}.{version}", abi())
    );

    // Once more, and over an older version that had a file more.
    let manifest = prefix.join(format!("lib/glebe/manifest.{}", abi()));
    let listed = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{listed}lib/glebe/libonnxruntime.so.1.17.0\n")).unwrap();
    std::fs::write(prefix.join("lib/glebe/libonnxruntime.so.1.17.0"), "").unwrap();
    assert!(install(&built, &prefix).status.success());
    assert_eq!(tree(&prefix), once);
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), listed);

    std::fs::write(prefix.join("lib/glebe/notes.txt"), "the user's own").unwrap();
    let uninstall = || script("uninstall").arg(&prefix).arg(abi()).output().unwrap();
    assert!(uninstall().status.success());
    let mut expected = before;
    expected.extend(["lib/glebe".to_owned(), "lib/glebe/notes.txt".to_owned()]);
    assert_eq!(tree(&prefix), expected);

    let again = uninstall();
    assert!(!again.status.success());
    assert!(text(again.stderr).contains("nothing to remove"));
}

#[test]
fn install_writes_nothing_where_something_is_missing() {
    for missing in ["glebe", "libglebe.so", "libonnxruntime"] {
        let folder = TempDir::new().unwrap();
        let (built, prefix) = (folder.path().join("built"), folder.path().join("prefix"));
        std::fs::create_dir(&built).unwrap();
        lay_out(&built);
        for entry in built.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name == missing || missing == "libonnxruntime" && name.starts_with(missing) {
                std::fs::remove_file(path).unwrap();
            }
        }
        let output = install(&built, &prefix);
        assert!(!output.status.success(), "{missing}");
        let told = text(output.stderr);
        assert!(told.contains(missing) && told.contains("make build"), "{told}");
        assert!(!prefix.exists(), "{missing}");
    }
}

/// A file where a folder should be: found out before the first file is in place.
#[test]
fn install_that_fails_midway_leaves_what_was_there() {
    let folder = TempDir::new().unwrap();
    let (built, prefix) = (folder.path().join("built"), folder.path().join("prefix"));
    std::fs::create_dir(&built).unwrap();
    lay_out(&built);
    std::fs::create_dir(&prefix).unwrap();
    std::fs::write(prefix.join("share"), "a file").unwrap();
    let before = tree(&prefix);
    let output = install(&built, &prefix);
    assert!(!output.status.success());
    assert!(text(output.stderr).contains("share"));
    assert_eq!(tree(&prefix), before);
}
