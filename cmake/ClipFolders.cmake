# A folder is a static library that is linked only to what it may see. `link_<folder>` pulls in
# all of its objects, so that a call against the arrows of docs/architecture.md does not link.
function(clip_folder name)
  cmake_parse_arguments(FOLDER "" "" "LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c)
  add_library(clip_${name} STATIC ${sources})
  target_include_directories(clip_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}
                                                 ${CMAKE_CURRENT_SOURCE_DIR}/include)
  target_link_libraries(clip_${name} PUBLIC ${FOLDER_LINKS})

  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/link_main.c "int main(void) { return 0; }\n")
  add_executable(link_${name} ${CMAKE_CURRENT_BINARY_DIR}/link_main.c)
  target_link_libraries(link_${name} PRIVATE
    -Wl,--whole-archive $<TARGET_FILE:clip_${name}> -Wl,--no-whole-archive ${FOLDER_LINKS})
  add_dependencies(link_${name} clip_${name})
endfunction()

# libclip.so: all folders, only clip_* visible.
function(clip_library)
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/empty.c "typedef int clip_nothing;\n")
  add_library(clip SHARED ${CMAKE_CURRENT_BINARY_DIR}/empty.c)
  set(archives "")
  foreach(folder engine net index fs)
    list(APPEND archives $<TARGET_FILE:clip_${folder}>)
    add_dependencies(clip clip_${folder})
  endforeach()
  target_link_libraries(clip PRIVATE -Wl,--whole-archive ${archives} -Wl,--no-whole-archive
    clip::uv clip::crypto clip::xxhash clip::llhttp clip::mbedtls clip::jansson clip::inflate
    clip::zstd clip::archive clip::fuse)
  set_target_properties(clip PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0
    PUBLIC_HEADER ${CMAKE_CURRENT_SOURCE_DIR}/include/clip.h)
  target_link_options(clip PRIVATE -Wl,--exclude-libs,libllhttp.a)
  target_include_directories(clip PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  install(TARGETS clip LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
                       PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endfunction()
